from __future__ import annotations

from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.tlb import NO_TLBS, size_text, tlb_entry_at, tlb_notes, tlb_view


def area_of(session: Session, tell, nr_bytes: int = 8192) -> int:
    tell(f"vmalloc {nr_bytes}")
    return session.machine.vmalloc.areas[-1].start


def test_every_cpu_has_a_row_of_counters(session: Session, tell) -> None:
    start = area_of(session, tell)
    tell(f"load 2 {start:#x}", f"load 2 {start + 8:#x}", f"load 2 {start + 4096:#x}")
    table = tlb_view(session)
    assert column(table, "cpu") == [0, 1, 2, 3]
    assert column(table, "misses")[2] == 2 and column(table, "l1_hits")[2] == 1
    assert column(table, "walk_refs")[2] == 8


def test_the_entries_of_one_cpu_are_what_the_tables_say(session: Session, tell) -> None:
    start = area_of(session, tell)
    tell(f"load 1 {start:#x}")
    table = tlb_view(session, 1)
    assert column(table, "virt") == [start]
    assert column(table, "phys") == [session.machine.space.translate(start)]
    assert column(table, "cached_in") == ["L1 4K, L2"] and column(table, "stale") == [None]
    assert tlb_view(session, 0).rows == ()


def test_an_entry_that_the_tables_no_longer_have_is_marked_stale(session: Session, tell) -> None:
    start = area_of(session, tell)
    tell(f"load 1 {start:#x}", f"vfree {start:#x}")  # freed lazily: no flush yet
    table = tlb_view(session, 1)
    assert column(table, "stale") == ["not mapped any more: not present in the PTE"]
    assert column(tlb_view(session), "stale") == [0, 1, 0, 0]
    assert tlb_notes(session.machine, start, None)[0].endswith(
        "STALE: not mapped any more: not present in the PTE"
    )
    tell("purge")
    assert tlb_view(session, 1).rows == ()


def test_looking_counts_nothing(session: Session, tell) -> None:
    start = area_of(session, tell)
    tell(f"load 1 {start:#x}")
    tlb = session.machine.tlbs[1]
    before = tlb.dump()
    found = tlb_entry_at(tlb, start + 100)
    tlb_notes(session.machine, start, None)
    tlb_view(session, 1)
    assert found is not None and found[0].virt == start and found[1] == "L1 4K"
    assert tlb_entry_at(tlb, start + 4096) is None
    assert tlb.dump() == before


def test_a_cpu_that_does_not_hold_an_address_is_told_so(session: Session, tell) -> None:
    start = area_of(session, tell)
    assert tlb_notes(session.machine, start, 3) == ["the TLB of cpu 3 does not hold it"]
    assert tlb_notes(session.machine, start, None) == []


def test_a_machine_without_tlbs_says_so(demo: Session) -> None:
    assert tlb_view(demo).notes == tlb_view(demo, 0).notes == (NO_TLBS,)
    assert tlb_notes(demo.machine, demo.machine.percpu.base_addr, 0) == []


def test_sizes_read_in_the_largest_unit() -> None:
    assert [size_text(shift) for shift in (12, 21, 22, 30, 39)] == [
        "4 KiB", "2 MiB", "4 MiB", "1 GiB", "512 GiB",
    ]  # fmt: skip
