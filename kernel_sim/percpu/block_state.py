"""The block allocator's state as builtin types, and back: one part for the lists, one for each block.

    system.blocks      order of the list, firstnotfull, counters, known CPUs, lock
    system.block.N     its objects, its free buf_ctl's, its pages

Bitmaps, bytes used and the list of all objects follow from the objects. The bytes in the management
pages are parts of their own, as those of any page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kernel_sim.component import from_plain, to_plain
from kernel_sim.errors import BadAccess, InvariantBroken, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import PAGES_PER_CPU
from kernel_sim.percpu.block_percpu import BlockPercpu
from kernel_sim.percpu.buf_ctl import BufCtl, BufCtlFreeList

LISTS_PART = "system.blocks"
BLOCK_PREFIX = "system.block."
BLKHEAD = -1


@dataclass(frozen=True, slots=True)
class BlockLists:
    """What is not a block's own; blocks are named by number."""

    order: tuple[int, ...]
    first_not_full: int
    next_number: int
    next_serial: int
    possible: tuple[int, ...]
    lock_holder: int


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block; an object is (serial, buf_ctl, offset in bytes, size in bytes)."""

    number: int
    start_addr: int
    free_head: int
    free_links: dict[int, int]
    objects: tuple[tuple[int, int, int, int], ...]
    cpu_pfns: dict[int, tuple[int, ...]]
    management_pfns: tuple[int, ...]


def dump_blocks(percpu: BlockPercpu, cache: Mapping[str, object]) -> dict[str, object]:
    """Return all parts; one that did not change is the object that is in cache."""
    lists = to_plain(_lists_of(percpu))
    known = cache.get(LISTS_PART)
    parts: dict[str, object] = {LISTS_PART: known if known == lists else lists}
    for number, block in percpu.pool.blocks.items():
        name = f"{BLOCK_PREFIX}{number}"
        part = cache.get(name)
        if block.changed or part is None:
            part = to_plain(_row_of(block))
            block.changed = False
        parts[name] = part
    return parts


def load_blocks(
    percpu: BlockPercpu, parts: Mapping[str, object], cache: Mapping[str, object]
) -> None:
    """Take over a dumped state; blocks whose part is the one in cache stay as they are.

    Raises KernelBug for parts that cannot be of this allocator.
    """
    lists = from_plain(BlockLists, parts.get(LISTS_PART), LISTS_PART)
    nr_parts = sum(name.startswith(BLOCK_PREFIX) for name in parts)
    if nr_parts != len(lists.order):
        raise KernelBug(f"{nr_parts} parts {BLOCK_PREFIX}…; expected {len(lists.order)}, as listed")
    pool = percpu.pool
    blocks: dict[int, Block] = {}
    for number in sorted(lists.order):
        name = f"{BLOCK_PREFIX}{number}"
        part, held = parts.get(name), pool.blocks.get(number)
        if held is None or held.changed or cache.get(name) is not part:
            held = _block_of(percpu, from_plain(BlockRow, part, name))
        if held.number != number:
            raise KernelBug(f"{name} is of block {held.number}")
        blocks[number] = held
    pool.replace(blocks, lists.order, lists.first_not_full)
    pool.next_number, pool.next_serial = lists.next_number, lists.next_serial
    percpu.possible = dict.fromkeys(lists.possible)
    percpu.lock.holder = lists.lock_holder


def unnoticed_change(percpu: BlockPercpu, cache: Mapping[str, object]) -> str:
    """Return the block that changed without saying so, "" if all are honest."""
    for number, block in percpu.pool.blocks.items():
        known = cache.get(f"{BLOCK_PREFIX}{number}")
        if not block.changed and known is not None and known != to_plain(_row_of(block)):
            return f"block {number}"
    return ""


def check_blocks(percpu: BlockPercpu) -> None:
    """Raise InvariantBroken unless every block has an area and the pages that its CPUs should have."""
    machine, geometry = percpu.machine, percpu.geometry
    if any(cpu not in machine.cpus for cpu in percpu.possible):
        raise InvariantBroken("the block allocator knows a CPU that is not possible")
    percpu.pool.check_invariants()
    for block in percpu.pool.blocks.values():
        area = machine.vmalloc.find_area(block.start_addr)
        nr_bytes = geometry.nr_area_pages << PAGE_SHIFT
        if area is None or (area.start, area.size_bytes) != (block.start_addr, nr_bytes):
            raise InvariantBroken(f"block {block.number}: no area of {nr_bytes} bytes is there")
        counts = [len(pfns) for pfns in block.cpu_pfns.values()]
        if any(cpu not in percpu.possible for cpu in block.cpu_pfns) or any(
            count != PAGES_PER_CPU for count in counts
        ):
            raise InvariantBroken(f"block {block.number}: not {PAGES_PER_CPU} pages a CPU")
        if len(block.management_pfns) != geometry.nr_management_pages:
            raise InvariantBroken(f"block {block.number}: not the pages that management takes")
        _check_pages(percpu, block)


def _check_pages(percpu: BlockPercpu, block: Block) -> None:
    every = (*block.management_pfns, *(pfn for pfns in block.cpu_pfns.values() for pfn in pfns))
    for pfn in every:
        try:
            percpu.machine.pages.zone_of_pfn(pfn)
        except BadAccess as problem:
            raise InvariantBroken(f"block {block.number}: there is no page {pfn:#x}") from problem


def _lists_of(percpu: BlockPercpu) -> BlockLists:
    pool = percpu.pool
    first = pool.order.first_not_full
    return BlockLists(
        order=tuple(block.number for block in pool.order.blocks),
        first_not_full=BLKHEAD if first is None else first.number,
        next_number=pool.next_number,
        next_serial=pool.next_serial,
        possible=tuple(percpu.possible),
        lock_holder=percpu.lock.holder,
    )


def _row_of(block: Block) -> BlockRow:
    return BlockRow(
        number=block.number,
        start_addr=block.start_addr,
        free_head=block.free_list.head,
        free_links=block.free_list.links,
        objects=tuple(
            (each.serial, index, each.addr - block.start_addr, each.size_bytes)
            for index, each in block.buf_ctls.items()
        ),
        cpu_pfns=block.cpu_pfns,
        management_pfns=block.management_pfns,
    )


def _block_of(percpu: BlockPercpu, row: BlockRow) -> Block:
    block = Block.fresh(percpu.geometry, row.start_addr)
    block.number = row.number
    for serial, index, offset_bytes, size_bytes in row.objects:
        addr = row.start_addr + offset_bytes
        block.adopt(BufCtl(serial, row.number, index, addr, size_bytes))
    nr_buf_ctls = percpu.geometry.nr_objects
    block.free_list = BufCtlFreeList(nr_buf_ctls, row.free_head, dict(row.free_links))
    block.cpu_pfns = dict(row.cpu_pfns)
    block.management_pfns = row.management_pfns
    block.changed = False
    return block
