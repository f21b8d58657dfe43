from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.debugger.session import Session
from tui.debugger.views.inferred import inferred_view, row_of

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


def test_rows_of_a_strangers_recording_are_shown_whatever_they_hold(session: Session) -> None:
    session.origin.inferred = [[1, "kind", 2, "text"], [], [None, {"a": 1}], "no list"]  # type: ignore[list-item]
    assert inferred_view(session).rows == (
        (1, "kind", 2, "text"),
        (None, None, None, None),
        (None, "{'a': 1}", None, None),
        ("no list", None, None, None),
    )


def test_what_the_replay_had_to_say_stands_beneath(session: Session) -> None:
    session.origin.notes = ["two events of 1.000001 were exchanged"]
    assert inferred_view(session).notes == ("two events of 1.000001 were exchanged",)


@given(st.one_of(plain, st.lists(plain), st.lists(st.lists(plain))), st.integers(1, 8))
def test_any_entry_becomes_a_row_of_cells_of_the_right_length(entry: object, nr_cells: int) -> None:
    row = row_of(entry, nr_cells)
    assert len(row) == nr_cells
    assert all(cell is None or isinstance(cell, int | str) for cell in row)
