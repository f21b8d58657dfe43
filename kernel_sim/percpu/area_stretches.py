"""The memory of an allocator with area maps, piece by piece, and what its bookkeeping takes in C.

    image          __per_cpu_offset[]
    first chunk    unit of a CPU   | static | reserved: modules, room | dynamic areas, free |
    chunk N        unit of a CPU   | areas, free, no pages yet |
                   spare units     address space, or in one block memory, of no CPU
                   wasted tail     what a block has beyond its units (kernel memory only)

Where the posted code of February 2009 has taken pages away under areas, there is a hole with their ptr.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kernel_sim.alignment import align_up
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.area_chunk import FIRST, RESERVED, AreaChunk
from kernel_sim.percpu.area_percpu import AreaPercpu
from kernel_sim.percpu.area_plan import EMBED, LPAGE, STATIC, AreaPlan
from kernel_sim.percpu.stretch import (
    DYNAMIC,
    HOLE,
    MODULE,
    PADDING,
    RESERVED_ROOM,
    TABLE,
    Stretch,
)
from kernel_sim.percpu.stretch import STATIC as STATIC_KIND
from kernel_sim.percpu.unit_stretches import UnitArea, unit_stretches

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

ENTRY_BYTES: Final = 4  # an int of a map
LIST_HEAD_WORDS: Final = 2
CHUNK_STRUCT_WORDS: Final = (
    7  # list, base_addr, map, vms, immutable with its padding, populated's last
)
CHUNK_STRUCT_INTS: Final = 4  # free_size, contig_hint, map_used, map_alloc


@dataclass(frozen=True, slots=True)
class AreaDrawing:
    """One allocator's memory on one machine. block_order: of a chunk's block, -1 where it has none."""

    machine: Machine
    percpu: AreaPercpu
    plan: AreaPlan
    block_order: int = -1

    def stretches(self) -> Iterator[Stretch]:
        """Yield the offsets table, then every unit, chunk by chunk."""
        yield from self.table()
        yield from self.chunk_stretches()

    def table(self) -> Iterator[Stretch]:
        """Yield the offsets table."""
        machine = self.machine
        word_bytes = machine.arch.word_bytes
        nr_entries = machine.topology.possible[-1] + 1
        yield Stretch(
            "kernel image", machine.symbol("__per_cpu_offset"), nr_entries * word_bytes, TABLE,
            "__per_cpu_offset[]",
        )  # fmt: skip

    def chunk_stretches(self) -> Iterator[Stretch]:
        """Yield all of the first chunk and of later ones."""
        yield from self._first_units()
        for chunk in self.percpu.chunks.values():
            if chunk.number > FIRST:
                yield from self._later_units(chunk)

    def _first_units(self) -> Iterator[Stretch]:
        places, percpu = self.machine.places, self.percpu
        is_static = self.plan.how == STATIC
        for cpu in places.cpus:
            unit = Stretch(
                f"first chunk, unit of cpu {cpu}", percpu.base_addr + places.unit_offsets[cpu],
                self.first_unit_bytes, STATIC_KIND, "", cpu,
                node=places.node_of_cpu[cpu], owns_pages=is_static,
            )  # fmt: skip
            populated = percpu.chunks[FIRST].populated if is_static else -1
            yield from self._cut(
                unit, unit_stretches(unit, self._first_areas(), populated), populated
            )

    @property
    def first_unit_bytes(self) -> int:
        """Bytes of a unit of the first chunk that are its own: the rest was given back."""
        if self.plan.how in (EMBED, LPAGE):
            return align_up(self.plan.info.size_sum_bytes, PAGE_SIZE_BYTES)
        return self.plan.info.unit_size_bytes

    def _first_areas(self) -> list[UnitArea]:
        """Return what is in a unit of the first chunk, the room for modules and what rounding lost too."""
        info, chunks = self.plan.info, self.percpu.chunks
        areas = [UnitArea(0, info.static_size_bytes, STATIC_KIND, "static variables")]
        at = info.static_size_bytes
        reserved, first = chunks.get(RESERVED), chunks.get(FIRST)
        if reserved is not None:
            areas += _lost(at, reserved.hidden_bytes)
            areas += self._areas(reserved, MODULE)
            areas += [
                UnitArea(start, size, RESERVED_ROOM, "kept for modules")
                for start, size in _free(reserved)
            ]
            areas.sort(key=lambda area: area.offset_bytes)
            at = reserved.area_map.end_bytes
        if first is not None:
            areas += _lost(at, first.hidden_bytes)
            areas += self._areas(first, DYNAMIC)
            at = first.area_map.end_bytes
        if self.plan.how != STATIC or self.plan.choices.stage.static_alone:
            end = self.first_unit_bytes
            if self.plan.how == STATIC:
                end = min(end, align_up(at, PAGE_SIZE_BYTES))
            areas += _lost(at, end)
        return areas

    def _later_units(self, chunk: AreaChunk) -> Iterator[Stretch]:
        machine, places, is_block = self.machine, self.machine.places, self.block_order >= 0
        areas = self._areas(chunk, DYNAMIC)
        for cpu in places.cpus:
            unit = Stretch(
                f"chunk {chunk.number}, unit of cpu {cpu}",
                chunk.base_addr + places.unit_offsets[cpu], chunk.nr_pages << PAGE_SHIFT, DYNAMIC,
                "", cpu, node=-1 if is_block else places.node_of_cpu[cpu], owns_pages=True,
            )  # fmt: skip
            pieces = unit_stretches(unit, areas, chunk.populated)
            yield from self._cut(unit, pieces, chunk.populated)
        info = machine.alloc_info
        cpus = [cpu for group in info.groups for cpu in group.cpu_map]
        offsets = [
            offset + unit * info.unit_size_bytes
            for group, offset in zip(info.groups, self._group_offsets(), strict=True)
            for unit in range(group.nr_units)
        ]
        kind, what = (PADDING, "spare unit") if is_block else (HOLE, "spare unit")
        for number, owner in enumerate(cpus):
            if owner is None:
                yield Stretch(
                    f"chunk {chunk.number}, spare unit {number}", chunk.base_addr + offsets[number],
                    info.unit_size_bytes, kind, what, owns_pages=is_block,
                )  # fmt: skip
        if is_block:
            yield from self._tail(chunk)

    def _group_offsets(self) -> tuple[int, ...]:
        """Return where groups begin in a chunk."""
        info, offsets = self.machine.alloc_info, self.machine.places.group_offsets
        if len(offsets) == len(info.groups):
            return offsets
        return tuple(group.base_offset_bytes for group in info.groups)

    def _tail(self, chunk: AreaChunk) -> Iterator[Stretch]:
        """Yield what the block has beyond the units."""
        places = self.machine.places
        used = places.group_sizes[0]
        wasted = (PAGE_SIZE_BYTES << self.block_order) - used
        if wasted:
            yield Stretch(
                f"chunk {chunk.number}, wasted tail",
                chunk.base_addr + places.group_offsets[0] + used, wasted, PADDING,
                "beyond the units: the block is a power of two", owns_pages=True,
            )  # fmt: skip

    def _areas(self, chunk: AreaChunk, kind: str) -> list[UnitArea]:
        found: list[UnitArea] = []
        for offset, size_bytes in chunk.areas():
            ptr = self.percpu.ptr_of(chunk.base_addr + offset)
            what = f"{kind} area"
            if self.plan.choices.stage.static_alone:  # the mail counts through all chunks
                what += f" at {self.percpu.linear_offset(chunk, offset)} of all units"
            found.append(UnitArea(offset, size_bytes, kind, what, ptr))
        return found

    def _cut(self, unit: Stretch, pieces: Iterator[Stretch], populated: int) -> Iterator[Stretch]:
        """Yield a unit's stretches, cut where pages were taken away under them."""
        if not self.plan.choices.stage.frees_at_once:
            yield from pieces
            return
        for piece in pieces:
            at = piece.addr
            while at < piece.end and piece.kind != HOLE:
                page = at - unit.addr >> PAGE_SHIFT
                end = min(unit.addr + (page + 1 << PAGE_SHIFT), piece.end)
                while end < piece.end and _same(populated, page, end - unit.addr >> PAGE_SHIFT):
                    end = min(end + PAGE_SIZE_BYTES, piece.end)
                kind = piece.kind if populated >> page & 1 else HOLE
                yield replace(piece, addr=at, size_bytes=end - at, kind=kind)
                at = end
            if piece.kind == HOLE:
                yield piece

    def pages_of_chunk(self, chunk: AreaChunk) -> int:
        """Return the pages that a later chunk has."""
        if self.block_order >= 0:
            return 1 << self.block_order
        return chunk.populated.bit_count() * self.percpu.nr_possible_cpus

    def metadata_bytes(self) -> int:
        """Return what chunk structs, maps, page bits and the array of lists take.

        Source: struct pcpu_chunk, Linux 2.6.34; in v1 it has a pointer for each page instead of bits.
        """
        word = self.percpu.word_bytes
        total = len(self.percpu.slots.lists) * LIST_HEAD_WORDS * word
        for chunk in self.percpu.chunks.values():
            struct = CHUNK_STRUCT_WORDS * word + CHUNK_STRUCT_INTS * ENTRY_BYTES
            if self.plan.choices.stage.frees_at_once:
                struct += chunk.nr_pages * self.percpu.nr_possible_cpus * word
            else:
                struct += -(-chunk.nr_pages // (8 * word)) * word
            total += struct + chunk.area_map.capacity * ENTRY_BYTES
        return total


def _same(populated: int, page: int, other: int) -> bool:
    return populated >> page & 1 == populated >> other & 1


def _free(chunk: AreaChunk) -> list[tuple[int, int]]:
    area_map = chunk.area_map
    return [(start, area_map.sizes[start]) for start in area_map.free_starts]


def _lost(at: int, end: int) -> list[UnitArea]:
    """Return the bytes between two parts as one that nobody has."""
    return [UnitArea(at, end - at, PADDING, "lost to rounding")] if end > at else []
