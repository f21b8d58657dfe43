from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.errors import ConfigError
from tui.debugger.errors import CommandError
from tui.debugger.place import Place
from tui.verbs.screen import open_screen, split_place


def test_a_file_is_a_file_even_if_it_is_called_like_a_place(tmp_path: Path) -> None:
    odd = tmp_path / "a.kms#step=7"
    assert split_place(str(odd)) == (tmp_path / "a.kms", Place(str(tmp_path / "a.kms"), "7"))
    odd.write_bytes(b"")
    assert split_place(str(odd)) == (odd, None)
    assert split_place("run#1.kms") == (Path("run#1.kms"), None)


def test_a_place_with_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(CommandError, match="none of its fields"):
        split_place("a.kms#step=1&mood=good")


def test_what_is_not_there_is_named_and_a_screen_needs_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        open_screen(str(tmp_path / "none.kms#step=3"))
    (tmp_path / "here.kms").write_bytes(b"")
    with pytest.raises(ConfigError, match="needs a terminal"):
        open_screen(str(tmp_path / "here.kms"))
