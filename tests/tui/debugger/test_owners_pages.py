from __future__ import annotations

import re

import pytest

from kernel_sim.mm.page import PAGE_SHIFT
from tui.debugger.owners import whatis
from tui.debugger.owners_pages import held_page, idle_page, page_state, zone_text
from tui.debugger.session import Session


def number_in(text: str) -> int:
    found = re.search(r"0x[0-9a-f]+", text)
    assert found is not None, text
    return int(found.group(), 16)


def test_a_slab_object_is_told_by_class_and_index_until_it_is_freed(session: Session, tell) -> None:
    first = number_in(tell("kmalloc 60").lines[0])
    second = number_in(tell("kmalloc 60").lines[0])
    owner = whatis(session, second + 3)
    assert owner.kind == "slab" and "object 1 of a slab of kmalloc-64" in owner.summary
    tell(f"kfree {second:#x}")
    assert "free object 1" in whatis(session, second).summary
    assert dict(whatis(session, first).facts)["in_use"] is True


def test_pages_of_a_caller_and_of_a_list_are_told_apart(session: Session, tell) -> None:
    pfn = number_in(tell("pages 1").lines[0])
    owner = held_page(session.machine, pfn + 1 << PAGE_SHIFT)
    assert owner is not None and owner.summary.startswith("page 1 of a block of order 1")
    single = number_in(tell("pages 0 cpu=2").lines[0])
    tell(f"free_pages {single:#x} 0 cpu=2")
    listed = idle_page(session.machine, single)
    assert listed is not None and listed.kind == "page list" and dict(listed.facts)["cpu"] == 2
    tell("drain")
    free = idle_page(session.machine, single)
    assert free is not None and free.kind == "free"


def test_the_stack_of_a_cpu_that_came_up_is_its_own(session: Session, tell) -> None:
    tell("cpu down 3", "cpu up 3")
    pfn = session.machine.cpus[3].stack_pfn
    assert pfn >= 0
    assert (
        whatis(session, f"phys:{pfn + 2 << PAGE_SHIFT:#x}").summary
        == "page 2 of the stack of CPU 3"
    )


@pytest.mark.parametrize("virt_offset", [0, 4095])
def test_the_root_page_table_is_named(session: Session, virt_offset: int) -> None:
    root = session.machine.space.root_pfn << PAGE_SHIFT
    owner = held_page(session.machine, root + virt_offset)
    assert owner is not None and owner.summary == "the root page table"


def test_what_nobody_claims_is_told_by_zone_and_node(session: Session) -> None:
    pages = session.machine.pages
    pfn = pages.alloc_pages(gfp=0xCC0, order=1, node=1)
    assert pfn is not None
    assert held_page(session.machine, pfn << PAGE_SHIFT) is None
    assert page_state(session.machine, pfn).summary.endswith("in zone DMA32 of node 1")
    assert zone_text(session.machine, pfn) == "in zone DMA32 of node 1"
