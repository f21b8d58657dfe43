"""Where the simulated kernel did otherwise than the log, and the log was followed."""

from __future__ import annotations

from tui.debugger.session import Session
from tui.debugger.table import DEC, Column, Table
from tui.debugger.views.inferred import row_of

COLUMNS = (
    Column("line", DEC, "of the log"),
    Column("position", DEC, "of the operation in the order of the replay"),
    Column("kind"),
    Column("expected", help="what the log says"),
    Column("got", help="what the simulated kernel did"),
    Column("around", help="what lay there"),
)


def divergences_view(session: Session) -> Table:
    """Return a row for every divergence; none means that all placements agree."""
    rows = tuple(row_of(entry, len(COLUMNS)) for entry in session.origin.divergences)
    return Table(f"{len(rows)} divergences from the log", COLUMNS, rows)
