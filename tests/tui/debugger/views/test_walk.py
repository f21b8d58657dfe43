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


def test_walk_of_i386_has_its_own_levels_and_entries(boot_example) -> None:
    session = boot_example("i386-highmem")
    table = walk_view(session, session.machine.percpu.base_addr)
    assert column(table, "level")[:2] == ["PGD", "PMD"]
    assert "i386 PAE, entries of 8 bytes" in table.title
    assert max(column(table, "table_pfn")) < 1 << 20


def test_walk_says_what_the_tlbs_hold(session: Session, tell) -> None:
    tell("vmalloc 4096")
    start = session.machine.vmalloc.areas[0].start
    tell(f"load 1 {start:#x}", f"load 2 {start:#x}")
    phys = session.machine.space.translate(start)
    held = [note for note in walk_view(session, start).notes if "TLB" in note]
    assert held == [f"the TLB of cpu {cpu} has it in L1 4K: {phys:#x}" for cpu in (1, 2)]
    assert "the TLB of cpu 0 does not hold it" in walk_view(session, start, 0).notes
