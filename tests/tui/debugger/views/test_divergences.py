from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.views.divergences import divergences_view


def test_divergences_are_cut_to_the_columns_there_are(session: Session) -> None:
    session.origin.divergences = [[5, 6, "place", "a", "b", "around", "more"], [7]]
    table = divergences_view(session)
    assert table.title == "2 divergences from the log"
    assert table.rows == (
        (5, 6, "place", "a", "b", "around"),
        (7, None, None, None, None, None),
    )


def test_a_run_of_no_log_diverges_from_none(session: Session) -> None:
    table = divergences_view(session)
    assert (table.title, table.rows) == ("0 divergences from the log", ())
