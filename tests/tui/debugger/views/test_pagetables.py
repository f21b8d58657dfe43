from __future__ import annotations

import pytest

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.pagetables import pagetables_view


@pytest.mark.parametrize(
    ("machine", "levels", "widths"),
    [
        ("numa2-4cpu", ["PGD", "PUD", "PMD", "PTE"], {8}),
        ("i386-highmem", ["PGD", "PMD", "PTE"], {8}),
    ],
)
def test_tables_are_counted_by_level(
    boot_example, machine: str, levels: list[str], widths: set[int]
) -> None:
    session: Session = boot_example(machine)
    table = pagetables_view(session)
    assert column(table, "level") == levels and set(column(table, "entry_bytes")) == widths
    assert sum(column(table, "tables")) == session.machine.space.nr_table_pages
    assert column(table, "tables")[0] == 1


def test_a_new_table_is_counted(session: Session, tell) -> None:
    before = sum(column(pagetables_view(session), "tables"))
    tell("vmalloc 4096")
    assert sum(column(pagetables_view(session), "tables")) == before + 3


def test_the_direct_map_is_told_by_page_sizes(session: Session) -> None:
    note = pagetables_view(session).notes[0]
    assert note.startswith("direct map 0xffff888000000000-0xffff88807fffffff: pages 1 of 1 GiB")
