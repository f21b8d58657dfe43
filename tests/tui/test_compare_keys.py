"""The keys of the compare screen."""

from __future__ import annotations

import re

from tui.compare_keys import COMPARE_KEYS
from tui.keys import bindings, footer_keys, help_groups
from tui.screens.compare import CompareScreen


def test_every_key_has_an_action_that_the_screen_has() -> None:
    for binding in bindings(COMPARE_KEYS):
        name = re.match(r"\w+", binding.action)
        assert name is not None
        assert hasattr(CompareScreen, f"action_{name.group()}"), binding


def test_no_key_is_given_twice() -> None:
    keys = [binding.key for binding in bindings(COMPARE_KEYS)]
    assert len(keys) == len(dict.fromkeys(keys))


def test_footer_and_help_are_of_this_table() -> None:
    shown = [key for key, _, _ in footer_keys(COMPARE_KEYS)]
    assert shown[0] == "n"
    assert shown[-2:] == ["?", "q"]
    text = str(help_groups("", COMPARE_KEYS))
    assert "one operation on" in text
    assert "hjkl" not in text
