from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.slabinfo import slabinfo_view


def test_objects_are_counted_in_their_class(session: Session, tell) -> None:
    tell("kmalloc 60", "kmalloc 33", "kmalloc 300", "kmalloc 100000")
    table = slabinfo_view(session)
    active = dict(zip(column(table, "name"), column(table, "active_objs"), strict=True))
    assert (active["kmalloc-64"], active["kmalloc-512"]) == (2, 1)
    assert sum(active.values()) == 3
    assert table.notes == ("1 blocks of whole pages besides, 32 pages",)


def test_a_class_without_slabs_has_a_row_of_zeros(session: Session) -> None:
    table = slabinfo_view(session)
    assert table.rows and set(column(table, "num_slabs")) == {0} and not table.notes
