from __future__ import annotations

import io

import pytest

from tui.verbs import percent
from tui.verbs.percent import CLEAR, percent_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nobody_looks_at_what_is_no_terminal() -> None:
    assert percent_line() is None


def test_each_percent_is_told_once_and_the_line_is_left_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(percent.sys, "stderr", terminal)
    tell = percent_line(1000)
    assert tell is not None
    for here in (1000, 1001, 1100, 1101, 1500, 2000):
        tell(here, 2000)
    texts = terminal.getvalue().split(CLEAR)[1:]
    assert texts == ["1000/2000 (0%)", "1100/2000 (10%)", "1500/2000 (50%)", ""]


def test_a_run_of_no_length_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(percent.sys, "stderr", terminal)
    tell = percent_line(5)
    assert tell is not None
    tell(5, 5)
    assert terminal.getvalue() == CLEAR
