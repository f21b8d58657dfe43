"""The same rows at the prompt; the session stands where it stood."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session

Tell = Callable[..., Output]


def test_figures_are_measured_beside_the_session(session: Session, tell: Tell) -> None:
    digest = session.digest()
    output = tell("figures 3 12")
    assert output.ok and output.table is not None
    assert [row[0] for row in output.table.rows] == ["3", "12"]
    assert any("exact: " in line for line in output.lines)
    assert session.digest() == digest


def test_a_number_that_is_none_is_refused(tell: Tell) -> None:
    with pytest.raises(CommandError, match="'99': expected 1 or 2"):
        tell("figures 99")
