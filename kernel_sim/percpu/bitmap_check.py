"""Is the bitmap allocator sound? Recomputed slowly, the first contradiction named.

bitmaps and bounds     ──► free bytes, areas inside the served region, hints never above the truth
lists                  ──► every chunk on exactly the list its slot says, on none twice
populated bits         ──► a mapped page in every unit, and none where they are not set
vmalloc areas          ──► every chunk has its own, and no other is kept for chunks
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.backing_vm import VmBacking
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, BLOCK_MASK, MIN_ALLOC_BYTES
from kernel_sim.percpu.owned_page import OwnedPage

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

CHUNK_CALLER = "pcpu_get_vm_areas"


def check_chunk(chunk: Chunk) -> None:
    """Raise InvariantBroken unless bitmaps, hints and counts of a chunk agree."""
    check_places(chunk)
    runs = [_free_runs(word) for word in chunk.alloc_map]
    for index, block in enumerate(chunk.blocks):
        where = f"chunk {chunk.number} block {index}"
        left = runs[index][0][1] if runs[index] and runs[index][0][0] == 0 else 0
        right = _right_free(chunk.alloc_map[index])
        largest = max((length for _, length in runs[index]), default=0)
        _expect(where, "left_free", left, block.left_free)
        _at_most(where, "right_free", right, block.right_free)
        _at_most(where, "contig_hint", largest, block.contig_hint)
        _at_most(where, "scan_hint", largest, block.scan_hint)
        if block.contig_hint:
            _expect_free(where, chunk.alloc_map[index], block.contig_hint_start, block.contig_hint)
        if block.scan_hint:
            _expect_free(where, chunk.alloc_map[index], block.scan_hint_start, block.scan_hint)
        if runs[index]:
            _expect(where, "first_free", runs[index][0][0], block.first_free)
        elif block.first_free not in (0, BLOCK_BITS):  # 0: filled by an area that spans it
            raise InvariantBroken(f"{where}: first_free is {block.first_free} in a full block")
    largest = _largest_run(chunk)
    _at_most(f"chunk {chunk.number}", "contig_hint", largest, chunk.md.contig_hint)
    for what in ("contig_hint", "scan_hint"):
        _expect_run_free(chunk, what)
    first = next((i * BLOCK_BITS + run[0][0] for i, run in enumerate(runs) if run), chunk.nr_bits)
    _expect(f"chunk {chunk.number}", "first_free", first, chunk.md.first_free)
    tail = chunk.nr_pages
    while tail and not chunk.alloc_map[tail - 1]:
        tail -= 1
    _expect(f"chunk {chunk.number}", "free_tail", tail, chunk.free_tail)
    backed = chunk.populated.bit_count()
    _expect(f"chunk {chunk.number}", "nr_populated", backed, chunk.nr_populated)


def check_lists(percpu: BitmapPercpu) -> None:
    """Raise InvariantBroken unless every chunk is on the list that its slot says, and on no other."""
    seen: dict[int, int] = {}
    for slot, chunks in enumerate(percpu.slots.lists):
        for chunk in chunks:
            if chunk.number in seen:
                raise InvariantBroken(
                    f"chunk {chunk.number} is on lists {seen[chunk.number]} and {slot}"
                )
            seen[chunk.number] = slot
            _expect(f"chunk {chunk.number}", "slot", slot, chunk.slot)
            if percpu.chunks.get(chunk.number) is not chunk:
                raise InvariantBroken(f"list {slot} holds chunk {chunk.number}, which is not known")
    for number, chunk in percpu.chunks.items():
        if chunk.slot >= 0 and number not in seen:
            raise InvariantBroken(f"chunk {number} says it is on list {chunk.slot}, which lacks it")
    if RESERVED in seen:
        raise InvariantBroken("the reserved chunk is on a list")
    _expect("percpu", "bases", tuple(sorted(percpu.chunk_by_base)), tuple(percpu.chunk_bases))


def check_counts(machine: Machine) -> None:
    """Raise InvariantBroken unless the counters agree with the chunks. Context: no call under way."""
    percpu = machine.percpu
    empty_pages = 0
    populated = machine.alloc_info.size_sum_bytes >> PAGE_SHIFT
    for number, chunk in percpu.chunks.items():
        empty = sum(chunk.is_empty_page(page) for page in range(chunk.nr_pages))
        if number in (0, RESERVED) or not chunk.immutable:
            _expect(f"chunk {number}", "nr_empty_pop_pages", empty, chunk.nr_empty_pop_pages)
        if number != RESERVED and not chunk.isolated:
            empty_pages += chunk.nr_empty_pop_pages
        if number > 0:
            populated += chunk.nr_populated
        if chunk.slot < 0 and number != RESERVED:
            raise InvariantBroken(f"chunk {number} is on no list")
    _expect("percpu", "nr_empty_pop_pages", empty_pages, percpu.nr_empty_pop_pages)
    _expect("percpu", "nr_populated", populated, percpu.nr_populated)
    _expect(
        "percpu",
        "nr_cur_alloc",
        sum(c.nr_alloc for c in percpu.chunks.values()),
        percpu.statistics.nr_cur_alloc,
    )
    for lock in (percpu.lock, percpu.mutex):
        _expect(lock.name, "holder", -1, lock.holder)


def check_chunk_areas(machine: Machine) -> None:
    """Raise InvariantBroken unless each chunk has its own address space, and nothing else is kept for one."""
    if not isinstance(machine.percpu.backing, VmBacking):
        return
    space = machine.vmalloc
    wanted: dict[int, int] = {}
    for chunk in machine.percpu.chunks.values():
        for start in chunk.data if chunk.number > 0 else ():
            area = space.find_area(start)
            if area is None or area.start != start or start in space.lazy:
                raise InvariantBroken(f"chunk {chunk.number}: no area in use starts at {start:#x}")
            wanted[start] = chunk.number
    for area in space.areas:
        if (
            area.caller == CHUNK_CALLER
            and area.start not in wanted
            and area.start not in space.lazy
        ):
            raise InvariantBroken(f"area {area.start:#x} for chunks is of no chunk")


def chunk_pages(machine: Machine) -> Iterator[OwnedPage]:
    """Yield the pages of every chunk but the first; raises where population and page tables disagree."""
    for chunk in machine.percpu.chunks.values():
        if chunk.number > 0:
            if isinstance(machine.percpu.backing, VmBacking):
                yield from _unit_pages(machine, chunk)
            else:
                yield from _block_pages(machine, chunk)


def _block_pages(machine: Machine, chunk: Chunk) -> Iterator[OwnedPage]:
    order = (machine.places.group_sizes[0] >> PAGE_SHIFT) - 1
    for pfn in range(chunk.data[0], chunk.data[0] + (1 << order.bit_length())):
        virt = machine.arch.direct_map_addr + (pfn << PAGE_SHIFT)
        yield OwnedPage(pfn, virt, f"chunk {chunk.number}")


def _unit_pages(machine: Machine, chunk: Chunk) -> Iterator[OwnedPage]:
    for cpu in machine.places.cpus:
        for page in range(chunk.nr_pages):
            virt = chunk.base_addr + machine.places.unit_offsets[cpu] + (page << PAGE_SHIFT)
            phys = machine.space.translate(virt)
            backed = bool(chunk.populated >> page & 1)
            if backed != (phys is not None):
                raise InvariantBroken(
                    f"chunk {chunk.number} page {page} of cpu {cpu}: populated is {backed}, but a walk of"
                    f" {virt:#x} gives {phys if phys is None else hex(phys)}"
                )
            if phys is not None:
                owner = f"chunk {chunk.number} page {page} of cpu {cpu}"
                yield OwnedPage(phys >> PAGE_SHIFT, virt, owner)


def check_places(chunk: Chunk) -> None:
    """Raise InvariantBroken unless areas, bounds and counts of a chunk agree with its bitmap."""
    where = f"chunk {chunk.number}"
    taken_bits = sum(word.bit_count() for word in chunk.alloc_map)
    hidden_bits = (chunk.start_offset + chunk.end_offset) // MIN_ALLOC_BYTES
    area_bits = 0
    nr_areas = 0
    end = chunk.start_offset // MIN_ALLOC_BYTES
    for bit, nr_bits in chunk.areas():
        if bit < end or nr_bits <= 0 or chunk.area_bits(bit) != nr_bits:
            raise InvariantBroken(
                f"{where}: area at bit {bit} of {nr_bits} bits overlaps or has no bounds"
            )
        end = bit + nr_bits
        area_bits += nr_bits
        nr_areas += 1
    _expect(where, "bits in use", area_bits + hidden_bits, taken_bits)
    _expect(where, "number of areas", nr_areas, chunk.nr_alloc)
    served_bits = chunk.nr_bits - hidden_bits
    _expect(where, "free_bytes", (served_bits - area_bits) * MIN_ALLOC_BYTES, chunk.free_bytes)


def _free_runs(word: int) -> list[tuple[int, int]]:
    """Return (start, length) of each free run of a block, found bit by bit."""
    runs: list[tuple[int, int]] = []
    start = -1
    for bit, taken in enumerate(format(word | 1 << BLOCK_BITS, "b")[:0:-1]):
        if taken == "0" and start < 0:
            start = bit
        elif taken == "1" and start >= 0:
            runs.append((start, bit - start))
            start = -1
    if start >= 0:
        runs.append((start, BLOCK_BITS - start))
    return runs


def _right_free(word: int) -> int:
    return BLOCK_BITS - (word & BLOCK_MASK).bit_length()


def _largest_run(chunk: Chunk) -> int:
    """Return the longest free run of the chunk, across blocks."""
    bits = "".join(format(word | 1 << BLOCK_BITS, "b")[:0:-1] for word in chunk.alloc_map)
    return max(map(len, bits.split("1")), default=0)


def _expect_free(where: str, word: int, start: int, nr_bits: int) -> None:
    if word >> start & ((1 << nr_bits) - 1):
        raise InvariantBroken(f"{where}: a hint of {nr_bits} bits at {start} is not free")


def _expect_run_free(chunk: Chunk, what: str) -> None:
    """A hint of chunk_md must name bits that are free, across blocks too."""
    start, length = getattr(chunk.md, f"{what}_start"), getattr(chunk.md, what)
    if length and chunk.is_any_taken(start, length):
        raise InvariantBroken(
            f"chunk {chunk.number}: {what} of {length} bits at {start} is not free"
        )


def _expect(where: str, what: str, truth: object, held: object) -> None:
    if truth != held:
        raise InvariantBroken(f"{where}: {what} is {held}, recomputed {truth}")


def _at_most(where: str, what: str, truth: int, held: int) -> None:
    if held > truth:
        raise InvariantBroken(f"{where}: {what} is {held}, more than the true {truth}")
