from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.walk import walk_view


def test_walk_reads_the_entries_that_are_there(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[1]
    table = walk_view(busy, chunk.base_addr)
    assert column(table, "level") == ["PGD", "PUD", "PMD", "PTE"]
    memory = busy.machine.memory
    entries = [memory.read_u64(phys) for phys in column(table, "entry_phys")]
    assert entries == column(table, "entry")
    assert column(table, "points_to")[-1] == busy.machine.space.translate(chunk.base_addr)
    assert [pfn << 12 for pfn in column(table, "table_pfn")[1:]] == column(table, "points_to")[:-1]


def test_walk_of_nothing_ends_in_a_page_fault(session: Session) -> None:
    assert walk_view(session, 0).notes[0].startswith("page fault: not present")
