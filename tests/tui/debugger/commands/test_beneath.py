from __future__ import annotations

import pytest

from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_an_object_comes_from_the_node_asked_for_and_goes_back(session: Session, tell) -> None:
    output = tell("kmalloc 60 1")
    address = int(output.lines[0].split()[1].rstrip(","), 16)
    assert output.lines[0].endswith("room for 64 bytes")
    pages, arch = session.machine.pages, session.machine.arch
    assert pages.node_of_pfn((address - arch.direct_map_addr) >> 12) == 1
    assert tell(f"kfree {address:#x}").ok
    assert not tell(f"kfree {address:#x}").ok  # the second time is a fault


def test_an_area_is_taken_listed_and_given_back(session: Session, tell) -> None:
    start = int(tell("vmalloc 5000").lines[0].split()[1].rstrip(","), 16)
    table = tell("vmalloc").table
    assert [row[0] for row in table.rows] == [start]
    tell(f"vfree {start:#x}")
    assert start in session.machine.vmalloc.lazy
    tell("purge")
    assert not session.machine.vmalloc.areas


def test_pages_are_given_and_taken_back(session: Session, tell) -> None:
    pfn = int(tell("pages 3 node=1 cpu=2").lines[0].split()[1], 16)
    assert session.machine.held_pages == {pfn: 3}
    tell(f"free_pages {pfn:#x} 3")
    assert session.machine.held_pages == {}


def test_no_memory_is_an_answer_and_no_error(session: Session, tell) -> None:
    tell("fail-pages 0")
    for line in ("kmalloc 60", "vmalloc 5000", "pages 0"):
        output = tell(line)
        assert output.ok and output.lines[0].startswith("no ")


def test_a_huge_order_is_a_slip_and_a_large_one_no_memory(session: Session, tell) -> None:
    assert tell("pages 11").lines[0] == "no pages of order 11"
    with pytest.raises(CommandError, match="largest block has order"):
        tell("pages 4096")


def test_drain_empties_the_lists_of_all_cpus(session: Session, tell) -> None:
    tell("pages 0", "pages 0 cpu=3")
    assert session.machine.pages.nr_list_pages > 0
    tell("drain")
    assert session.machine.pages.nr_list_pages == 0


def test_a_cpu_reads_through_its_tlb_what_another_wrote(session: Session, tell) -> None:
    start = int(tell("vmalloc 4096").lines[0].split()[1].rstrip(","), 16)
    tell(f"store 0 {start:#x} 0xbeef 2")
    assert "reads 0xbeef" in tell(f"load 3 {start:#x} 2").lines[0]
    assert session.machine.tlbs[3].counters.misses == 1
    assert "reads 0xbeef" in tell(f"load 3 {start:#x}").lines[0]
    assert session.machine.tlbs[3].counters.l1_hits == 1


def test_a_store_where_nothing_is_mapped_stops_the_machine_and_tells_why(
    session: Session, tell
) -> None:
    output = tell("store 1 0xffffc90000005000 5")
    assert not output.ok
    text = "\n".join(output.lines)
    assert "CR2 0xffffc90000005000: write to a page that is not present" in text
    assert "is a hole in vmalloc space" in text
    with pytest.raises(CommandError, match="go back"):
        tell("kmalloc 8")


def test_a_flush_empties_all_tlbs_or_drops_one_page(session: Session, tell) -> None:
    start = int(tell("vmalloc 4096").lines[0].split()[1].rstrip(","), 16)
    tell(f"load 1 {start:#x}", f"load 2 {start:#x}", f"flush tlb {start:#x}")
    assert [row[1] for row in tell("tlb").table.rows[1:3]] == [0, 0]
    tell(f"load 1 {start:#x}", "flush tlb")
    assert all(tlb.nr_entries == 0 for tlb in session.machine.tlbs.values())
    with pytest.raises(CommandError, match="nothing lies between"):
        tell(f"flush tlb {start:#x} {start:#x}")


def test_a_call_for_later_waits(session: Session, tell) -> None:
    tell("vmalloc 9000 later cpu=2")
    assert session.has_waiting
    tell("run")
    assert len(session.machine.vmalloc.areas) == 1


@pytest.mark.parametrize("size", ["0", "9"])
def test_an_access_has_one_to_eight_bytes(tell, size: str) -> None:
    with pytest.raises(CommandError, match="expected 1 to 8"):
        tell(f"load 0 0xffff888000000000 {size}")
