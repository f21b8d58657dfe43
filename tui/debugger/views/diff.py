"""What is not the same in two states: one row a difference, what people look for first.

step 10 ► step 20: 1 area born, 2 pages populated, 7 counters changed
group   change  what              where               was  now
areas   born    area of 64 bytes  chunk 1 +0x140           0xffffe8ffff7ef140 in unit 0
"""

from __future__ import annotations

from collections.abc import Sequence

from snapshots.diff.rows import DiffRow
from snapshots.diff.state_diff import summary_of
from tui.debugger.table import Column, Table, count

COLUMNS = (
    Column("group"),
    Column("change", help="born, died, moved, changed, populated, depopulated"),
    Column("what"),
    Column("where"),
    Column("was"),
    Column("now"),
)


def diff_view(rows: Sequence[DiffRow], title: str, rows_max: int | None = None) -> Table:
    """Return a row for each difference; the title sums them up. rows_max: what a screen can use."""
    shown = rows if rows_max is None else rows[:rows_max]
    rest = len(rows) - len(shown)
    notes = (f"and {count(rest, 'difference')} more",) if rest else ()
    return Table(f"{title}: {summary_of(rows)}", COLUMNS, tuple(tuple(row) for row in shown), notes)
