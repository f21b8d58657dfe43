"""Deliberate damage to pages and mappings: each kind is found and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.check_pages import check_pages, own
from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.paging import PAGE_KERNEL
from tests.kernel_sim.whole_machines import KINDS, Whole


@pytest.fixture
def whole() -> Whole:
    """A machine with a chunk of its own pages, a vmalloc area, a module, an object and a held page."""
    made = Whole()
    made.use_up_ready_space()
    made.alloc(9000)
    made.load("counter")
    made.call("vmalloc", 9000)
    made.call("kmalloc_node", 64, GFP_KERNEL, 0)
    made.call("alloc_pages", 1, GFP_KERNEL, 0)
    made.drain()
    made.check()
    return made


def broken(whole: Whole) -> str:
    with pytest.raises(InvariantBroken) as caught:
        check_pages(whole.machine)
    with pytest.raises(InvariantBroken):
        whole.check()
    return str(caught.value)


def chunk_page(whole: Whole) -> tuple[int, int]:
    """Return (virt, pfn) of a populated page of CPU 2's unit in the last chunk."""
    machine = whole.machine
    chunk = list(machine.percpu.chunks.values())[-1]
    page = next(page for page in range(chunk.nr_pages) if chunk.populated >> page & 1)
    virt = chunk.base_addr + machine.places.unit_offsets[2] + (page << PAGE_SHIFT)
    phys = machine.space.translate(virt)
    assert phys is not None
    return virt, phys >> PAGE_SHIFT


def vmalloc_area(whole: Whole) -> int:
    return next(area.start for area in whole.machine.vmalloc.areas if area.nr_pages)


def set_entry(whole: Whole, virt: int, change: Callable[[int], int]) -> None:
    """Change the entry that maps an address, by hand."""
    space = whole.machine.space
    found = space.find_translation(virt)
    assert found is not None
    space.write_entry(found.entry_phys, change(space.read_entry(found.entry_phys)))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_machine_in_use_is_sound(kind: str) -> None:
    whole = Whole(kind)
    whole.use_up_ready_space()
    assert whole.alloc(9000) and whole.load("counter") == 0 and whole.call("vmalloc", 9000)
    whole.check()


def test_a_page_has_one_owner() -> None:
    owners = {5: "slab"}
    own(owners, 6, "stack")
    with pytest.raises(InvariantBroken, match="page 0x5 belongs to slab and to stack"):
        own(owners, 5, "stack")
    assert owners == {5: "slab", 6: "stack"}


def test_an_entry_of_a_chunk_that_was_cleared(whole: Whole) -> None:
    virt, _ = chunk_page(whole)
    set_entry(whole, virt, lambda entry: 0)
    assert "populated is True, but a walk of" in broken(whole)


def test_an_entry_of_a_chunk_that_names_another_frame(whole: Whole) -> None:
    virt, _ = chunk_page(whole)
    other = vmalloc_area(whole)
    phys = whole.machine.space.translate(other)
    assert phys is not None
    set_entry(whole, virt, lambda entry: entry & 0xFFF | phys)
    assert f"page {phys >> PAGE_SHIFT:#x} belongs to" in broken(whole)


def test_a_page_freed_behind_a_chunks_back(whole: Whole) -> None:
    _, pfn = chunk_page(whole)
    whole.machine.pages.free_pages(pfn, 0, 0)
    assert f"page {pfn:#x} is chunk" in broken(whole)


def test_a_page_of_an_area_that_is_gone(whole: Whole) -> None:
    start = vmalloc_area(whole)
    set_entry(whole, start, lambda entry: 0)
    assert f"vmalloc area {start:#x} has 2 pages mapped, 3 owned" in broken(whole)


def test_a_page_that_nobody_has(whole: Whole) -> None:
    pfn = whole.machine.pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=1)
    assert f"page {pfn:#x} of node 1 is allocated and nobody has it" in broken(whole)


def test_a_slab_that_was_leaked(whole: Whole) -> None:
    slab = whole.machine.slab
    pfn, _ = next(iter(slab.owned_pages()))
    del slab.slabs[pfn]
    for pfns in slab.partial.values():
        pfns.pop(pfn, None)
    assert "is allocated and nobody has it" in broken(whole)


def test_a_held_page_that_is_free(whole: Whole) -> None:
    ((pfn, order),) = whole.machine.held_pages.items()
    whole.machine.pages.free_pages(pfn, order, 0)
    assert f"page {pfn:#x} is alloc_pages() and is free" in broken(whole)


def test_a_wrong_frame_in_the_direct_map(whole: Whole) -> None:
    virt = whole.machine.arch.direct_map_addr + (4 << 20)
    set_entry(whole, virt, lambda entry: entry ^ 1 << 21)
    assert "neither direct map nor kernel image do" in broken(whole)


def test_a_mapping_in_vmalloc_space_that_is_nobodys(whole: Whole) -> None:
    machine = whole.machine
    virt = machine.vmalloc.areas[0].end + (1 << 30)
    assert machine.space.map_page(virt=virt, pfn=0x300, flags=PAGE_KERNEL, node=0, cpu=0)
    assert f"{virt:#x} maps page 0x300, expected None" in broken(whole)


def test_a_stack_that_is_free() -> None:
    whole = Whole()
    whole.call("cpu_down", 1)
    whole.call("cpu_up", 1)
    pfn = whole.machine.cpus[1].stack_pfn
    whole.machine.pages.free_pages(pfn, 2, 0)
    assert f"page {pfn:#x} is stack of cpu 1 and is free" in broken(whole)


def test_a_table_page_that_is_free(whole: Whole) -> None:
    machine = whole.machine
    pfn = next(
        pfn for pfn in machine.space.table_pfns
        if machine.pages.owner_state_of(pfn).startswith("allocated")
    )  # fmt: skip
    machine.pages.free_pages(pfn, 0, 0)
    assert f"page {pfn:#x} is page table and is" in broken(whole)


def test_a_chunks_addresses_freed_behind_its_back(whole: Whole) -> None:
    chunk = list(whole.machine.percpu.chunks.values())[-1]
    whole.machine.vmalloc.free_vm_areas(chunk.data)
    assert f"chunk {chunk.number}: no area in use starts at" in broken(whole)


def test_addresses_of_a_chunk_that_is_no_more(whole: Whole) -> None:
    places = whole.machine.places
    whole.machine.vmalloc.get_vm_areas(
        places.group_offsets, places.group_sizes, places.atom_size_bytes
    )
    assert "is of no chunk" in broken(whole)
