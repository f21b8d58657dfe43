"""The memory of the bitmap allocator, piece by piece, and what its bookkeeping takes in C.

first chunk   unit of a CPU   | static | reserved: modules | dynamic areas, free |
chunk N       unit of a CPU   | areas, free, no pages yet                        |
image         __per_cpu_offset[]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.md_block import BLOCK_BITS, MIN_ALLOC_SHIFT
from kernel_sim.percpu.stretch import DYNAMIC, MODULE, STATIC, TABLE, Stretch
from kernel_sim.percpu.unit_stretches import UnitArea, unit_stretches

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

CHUNK_STRUCT_BYTES = 200  # struct pcpu_chunk of 6.1 with its statistics, without bitmaps
MD_BLOCK_BYTES = 32  # struct pcpu_block_md
ALL_PAGES = -1


def bitmap_stretches(machine: Machine, percpu: BitmapPercpu) -> Iterator[Stretch]:
    """Yield the offsets table, then every unit, chunk by chunk."""
    word_bytes = machine.arch.word_bytes
    nr_entries = machine.topology.possible[-1] + 1
    yield Stretch(
        "kernel image", machine.symbol("__per_cpu_offset"), nr_entries * word_bytes, TABLE,
        "__per_cpu_offset[]",
    )  # fmt: skip
    yield from _first_units(machine, percpu)
    for chunk in percpu.chunks.values():
        if chunk.number > 0:
            yield from _later_units(machine, percpu, chunk)


def _first_units(machine: Machine, percpu: BitmapPercpu) -> Iterator[Stretch]:
    """Yield the first chunk's units: the static part, the reserved chunk's, the dynamic part."""
    info, places = machine.alloc_info, machine.places
    areas = [UnitArea(0, info.static_size_bytes, STATIC, "static variables")]
    for number in (RESERVED, 0):
        chunk = percpu.chunks.get(number)
        if chunk is not None:
            kind = MODULE if number == RESERVED else DYNAMIC
            areas += _areas(percpu, chunk, chunk.base_addr - percpu.base_addr, kind)
    for cpu in places.cpus:
        unit = Stretch(
            f"first chunk, unit of cpu {cpu}", percpu.base_addr + places.unit_offsets[cpu],
            info.size_sum_bytes, STATIC, "", cpu, node=places.node_of_cpu[cpu],
        )  # fmt: skip
        yield from unit_stretches(unit, areas, ALL_PAGES)


def _later_units(machine: Machine, percpu: BitmapPercpu, chunk: Chunk) -> Iterator[Stretch]:
    places = machine.places
    areas = _areas(percpu, chunk, 0, DYNAMIC)
    node_of = places.node_of_cpu if percpu.backing.name == "vm" else None
    for cpu in places.cpus:
        unit = Stretch(
            f"chunk {chunk.number}, unit of cpu {cpu}", chunk.base_addr + places.unit_offsets[cpu],
            chunk.nr_pages << PAGE_SHIFT, DYNAMIC, "", cpu,
            node=node_of[cpu] if node_of else -1, owns_pages=True,
        )  # fmt: skip
        yield from unit_stretches(unit, areas, chunk.populated)


def _areas(percpu: BitmapPercpu, chunk: Chunk, base_bytes: int, kind: str) -> list[UnitArea]:
    found: list[UnitArea] = []
    for bit, nr_bits in chunk.areas():
        offset = bit << MIN_ALLOC_SHIFT
        ptr = percpu.ptr_of(chunk.base_addr + offset)
        size_bytes = nr_bits << MIN_ALLOC_SHIFT
        found.append(UnitArea(base_bytes + offset, size_bytes, kind, f"{kind} area", ptr))
    return found


def metadata_bytes(percpu: BitmapPercpu) -> int:
    """Return what chunk structs, bitmaps, bounds, page bits and block hints take.

    Source: pcpu_alloc_chunk(), Linux 6.1 mm/percpu.c.
    """
    word_bytes = percpu.word_bytes
    total = 0
    for chunk in percpu.chunks.values():
        alloc_bytes = chunk.nr_pages * BLOCK_BITS // 8
        page_bytes = -(-chunk.nr_pages // (8 * word_bytes)) * word_bytes
        total += CHUNK_STRUCT_BYTES + 2 * alloc_bytes + word_bytes + page_bytes
        total += chunk.nr_pages * MD_BLOCK_BYTES
    return total
