from __future__ import annotations

import re

from tui.app import KmemscopeApp
from tui.keys import KEYS, bindings, footer_keys, help_groups


def test_every_key_has_an_action_that_the_app_has() -> None:
    for binding in bindings():
        name = re.match(r"\w+", binding.action)
        assert name is not None
        assert hasattr(KmemscopeApp, f"action_{name.group()}"), binding


def test_no_key_is_given_twice() -> None:
    keys = [binding.key for binding in bindings()]
    assert len(keys) == len(dict.fromkeys(keys))


def test_the_footer_begins_with_a_step_and_ends_with_help_and_quit() -> None:
    shown = [key for key, _, _ in footer_keys()]
    assert shown[0] == "n" and shown[-2:] == ["?", "q"]


def test_the_help_names_every_key_of_the_table_that_is_shown() -> None:
    text = " ".join(keys for _, lines in help_groups("map") for keys, _ in lines).split()
    for key in KEYS:
        assert not key.shown or set(key.shown.split()) <= set(text)


def test_keys_of_the_map_are_in_the_help_of_the_map_only() -> None:
    assert help_groups("map") != help_groups("events")
    assert "hjkl" not in str(help_groups("events"))
