"""The memory of the block allocator, piece by piece.

allocator's variables      blkhead, firstnotfull, buf_head, in the kernel image
block N, cpu C             | object | free | object | …          2 pages on the CPU's node
block N, cpus A-B          address space of CPUs that have no pages
block N, management        | start_addr | pages[] | list | bitmap | bufctl_fl[] | … | buf_ctl[] | rest |
                           guard page
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, BlockGeometry
from kernel_sim.percpu.block_memory import NR_VARIABLE_WORDS
from kernel_sim.percpu.block_percpu import BlockPercpu
from kernel_sim.percpu.stretch import DYNAMIC, FREE, HOLE, METADATA, PADDING, Stretch

SCRATCH_WORD_BYTES = 8  # struct obj_map_elmt: startbit, obj_size


def block_stretches(percpu: BlockPercpu) -> Iterator[Stretch]:
    """Yield the variables, then every block: its CPUs' parts, then its management pages."""
    nr_bytes = NR_VARIABLE_WORDS * percpu.geometry.word_bytes
    yield Stretch(
        "allocator's variables", percpu.memory.variables_addr, nr_bytes, METADATA,
        "blkhead, firstnotfull, buf_head",
    )  # fmt: skip
    for block in percpu.pool.blocks.values():
        yield from _cpu_parts(percpu, block)
        yield from _management(percpu.geometry, block)


def scratch_bytes(percpu: BlockPercpu) -> int:
    """Return what the array takes in which free runs are sorted, and the lock."""
    return SCRATCH_WORD_BYTES * percpu.geometry.nr_objects + 4


def _cpu_parts(percpu: BlockPercpu, block: Block) -> Iterator[Stretch]:
    at, nr_cpus = 0, percpu.geometry.nr_cpus
    for cpu in sorted(block.cpu_pfns):
        yield from _hole(block, at, cpu)
        node = percpu.machine.topology.node_of_cpu[cpu]
        yield from _objects(block, cpu, node)
        at = cpu + 1
    yield from _hole(block, at, nr_cpus)


def _hole(block: Block, first_cpu: int, end_cpu: int) -> Iterator[Stretch]:
    if first_cpu < end_cpu:
        name = f"cpu {first_cpu}" if end_cpu == first_cpu + 1 else f"cpus {first_cpu}-{end_cpu - 1}"
        yield Stretch(
            f"block {block.number}, {name}", block.start_addr + first_cpu * BLOCK_BYTES,
            (end_cpu - first_cpu) * BLOCK_BYTES, HOLE, "not possible: no pages", owns_pages=True,
        )  # fmt: skip


def _objects(block: Block, cpu: int, node: int) -> Iterator[Stretch]:
    start = at = block.start_addr + cpu * BLOCK_BYTES
    part = Stretch(
        f"block {block.number}, cpu {cpu}", start, BLOCK_BYTES, FREE, "free", cpu, node=node,
        owns_pages=True,
    )  # fmt: skip
    for buf_ctl in sorted(block.buf_ctls.values(), key=lambda each: each.addr):
        addr = buf_ctl.addr + cpu * BLOCK_BYTES
        if addr > at:
            yield replace(part, addr=at, size_bytes=addr - at)
        yield replace(
            part, addr=addr, size_bytes=buf_ctl.size_bytes, kind=DYNAMIC,
            what=f"object of buf_ctl {buf_ctl.index}", ptr=buf_ctl.addr,
        )  # fmt: skip
        at = addr + buf_ctl.size_bytes
    if at < start + BLOCK_BYTES:
        yield replace(part, addr=at, size_bytes=start + BLOCK_BYTES - at)


def _management(geometry: BlockGeometry, block: Block) -> Iterator[Stretch]:
    """Yield the fields of the descriptor, the buf_ctl's, the unused rest, the guard page."""
    strip = f"block {block.number}, management"
    start = block.start_addr + geometry.management_offset
    end = geometry.nr_management_pages << PAGE_SHIFT
    fields = (
        (0, METADATA, "start_addr"),
        (geometry.pages_offset, METADATA, "pages[]"),
        (geometry.list_offset, METADATA, "list: next, prev"),
        (geometry.bitmap_offset, METADATA, "bitmap"),
        (geometry.free_list_offset, METADATA, "bufctl_fl[]"),
        (geometry.free_list_head_offset, METADATA, "bufctl_fl_head, size_used"),
        (geometry.buf_ctl_offset(0), METADATA, "buf_ctl[]"),
        (geometry.management_bytes, PADDING, "unused end of the last page"),
    )
    ends = (*(offset for offset, _, _ in fields[1:]), end)
    for (offset, kind, what), stop in zip(fields, ends, strict=True):
        if stop > offset:
            yield Stretch(strip, start + offset, stop - offset, kind, what, owns_pages=True)
    yield Stretch(strip, start + end, PAGE_SIZE_BYTES, HOLE, "guard page", owns_pages=True)
