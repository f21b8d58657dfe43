"""The command compare, as console and scripts have it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tui.debugger.console import complete
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session

Tell = Callable[[str], Output]


def test_this_run_on_some_systems(session: Session, tell: Tell) -> None:
    tell("alloc 0 64")
    output = tell("compare . bitmap")
    assert output.table is not None
    assert output.ok
    assert output.table.title.endswith("on 1 system")
    assert [row[0] for row in output.table.rows] == ["bitmap"]
    assert session.timeline.nr_inputs == 1


def test_other_work_on_all_systems(session: Session, tell: Tell) -> None:
    output = tell("compare gen:small,ops=30")
    assert output.table is not None
    names = [row[0] for row in output.table.rows]
    assert "bitmap" in names
    for note in output.table.notes[1:]:
        assert "did not run: " in note or "accesses" in note


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("compare . slab", "compare: --systems: no system 'slab'"),
        ("compare . bitmap more", "compare: 'more' is too much; usage: compare"),
    ],
)
def test_what_is_wrong_is_said(tell: Tell, line: str, said: str) -> None:
    with pytest.raises(CommandError) as caught:
        tell(line)
    assert said in str(caught.value)


def test_words_are_completed(session: Session) -> None:
    assert "gen:mixed" in complete(session, "compare gen:m")
    assert "bitmap" in complete(session, "compare . bit")
