from __future__ import annotations

import pytest

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from tests.tui.debugger.conftest import unit_start
from tui.debugger.owners import whatis
from tui.debugger.owners_phys import is_memory, owner_of_physical
from tui.debugger.session import Session


@pytest.mark.parametrize("cpu", [0, 1, 2, 3])
@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("page", [0, 3, 6])
def test_a_physical_page_leads_back_to_its_place_in_the_unit(
    busy: Session, chunk: int, cpu: int, page: int
) -> None:
    offset = page * PAGE_SIZE_BYTES + 12
    phys = busy.machine.space.translate(unit_start(busy, chunk, cpu) + offset)
    owner = whatis(busy, f"phys:{phys:#x}")
    assert (owner.chunk, owner.cpu, owner.offset) == (chunk, cpu, offset)


def test_every_page_table_page_is_named_as_one(busy: Session) -> None:
    for pfn in busy.machine.space.table_pfns:
        assert whatis(busy, f"phys:{pfn * PAGE_SIZE_BYTES:#x}").kind == "page table"


def test_memory_ends_where_the_ranges_of_the_nodes_end(session: Session) -> None:
    for ranges in session.machine.pages.memory.values():
        for start, end in ranges:
            assert is_memory(session.machine, start) and is_memory(session.machine, end - 1)
    top = max(end for ranges in session.machine.pages.memory.values() for _, end in ranges)
    assert not is_memory(session.machine, top)
    assert owner_of_physical(session, top).kind == "nothing"


def test_a_page_is_free_allocated_or_set_aside(session: Session) -> None:
    pages = session.machine.pages
    pfn = pages.alloc_pages(gfp=0xCC0, order=0, node=1)
    assert pfn is not None
    assert owner_of_physical(session, pfn << PAGE_SHIFT).kind == "allocated"
    pages.free_pages(pfn, 0)
    assert owner_of_physical(session, pfn << PAGE_SHIFT).kind == "page list"
    pages.drain_all()
    assert owner_of_physical(session, pfn << PAGE_SHIFT).kind == "free"
    pages.reserve_at(pfn << PAGE_SHIFT, pfn + 1 << PAGE_SHIFT)
    owner = owner_of_physical(session, pfn << PAGE_SHIFT)
    assert owner.kind == "reserved" and dict(owner.facts)["node"] == 1
