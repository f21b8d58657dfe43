"""Chunks with area maps behind the protocol of all per-CPU systems, whatever their memory is made of.

What a system of this kind adds to its name: a plan (area_plan.py), the paths of its day (area_alloc.py,
area_alloc_v1.py), and where chunks' memory comes from (area_vm.py and others). Nothing here knows which.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from kernel_sim.errors import KernelBug
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.area_check import (
    check_areas,
    check_blocks,
    check_chunk_areas,
    check_large_pages,
)
from kernel_sim.percpu.area_chunk import FIRST, RESERVED, AreaChunk, first_chunks, static_chunk
from kernel_sim.percpu.area_percpu import AreaPercpu
from kernel_sim.percpu.area_plan import STATIC, AreaPlan
from kernel_sim.percpu.area_state import dump_areas, load_areas, unnoticed_change
from kernel_sim.percpu.area_stretches import AreaDrawing
from kernel_sim.percpu.boot_log import BootLine
from kernel_sim.percpu.owned_page import OwnedPage, pages_of_stretches
from kernel_sim.percpu.protocol import IntPath, Load, Parts, Path
from kernel_sim.percpu.stretch import Stretch
from kernel_sim.percpu.unit_boot import Units
from kernel_sim.primitives import Lock

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

RECLAIM_FUNCTION: Final = "pcpu_reclaim"


class AreaPaths(Protocol):
    """The kernel's paths of a day."""

    def pcpu_alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path that allocates an area."""

    def free_percpu(self, cpu: int, ptr: int) -> Path:
        """Return the path that gives one back."""


class ReclaimPath(Protocol):
    """The background work of days that have one."""

    def pcpu_reclaim(self, cpu: int) -> Path:
        """Return the path of the work."""


@dataclass(slots=True)
class AreaSystem:
    """One allocator with area maps on one machine."""

    machine: Machine
    percpu: AreaPercpu
    plan: AreaPlan
    paths: AreaPaths
    work: ReclaimPath | None
    drawing: AreaDrawing
    lines: tuple[BootLine, ...]
    name: str
    zeroes: bool = True
    module_align_max: int = PAGE_SIZE_BYTES
    keeps_alignment: bool = True

    @property
    def percpu_start(self) -> int:
        """__per_cpu_start, or 0 on x86-64."""
        return self.percpu.percpu_start

    @property
    def static_bytes(self) -> int:
        """The size of the static section."""
        return self.plan.info.static_size_bytes

    @property
    def locks(self) -> tuple[Lock, ...]:
        """The mutex, and pcpu_lock where there is one."""
        return self.percpu.locks

    def boot_lines(self) -> tuple[BootLine, ...]:
        """Return what setup printed."""
        return self.lines

    @property
    def work_function(self) -> str:
        """pcpu_reclaim, where memory does not go back at once."""
        return RECLAIM_FUNCTION if self.work is not None else ""

    # -- what kernel code calls ------------------------------------------------------------------

    def alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path of pcpu_alloc()."""
        return self.paths.pcpu_alloc(cpu, size, align, reserved, gfp, call_site)

    def free(self, cpu: int, ptr: int) -> Path:
        """Return the path of free_percpu()."""
        return self.paths.free_percpu(cpu, ptr)

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> IntPath:
        """Return the path of __alloc_reserved_percpu()."""
        return self.paths.pcpu_alloc(cpu, size, align, True, GFP_KERNEL, call_site)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Nothing to do: every copy has its memory."""
        return True

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Return the path of free_percpu()."""
        return self.paths.free_percpu(cpu, ptr)

    def work_path(self, cpu: int) -> Path:
        """Return the path of pcpu_reclaim()."""
        if self.work is None:
            raise KernelBug(f"cpu {cpu}: stage {self.percpu.stage.name} has no background work")
        return self.work.pcpu_reclaim(cpu)

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Nothing to do: every possible CPU has its unit."""
        return 0

    def cpu_dead(self, cpu: int, gone: int) -> None:
        """Nothing to do: the unit stays."""

    # -- how a copy is reached -------------------------------------------------------------------

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """Add the base register: no reference."""
        return self.machine.cpus[cpu].gs_base + ptr & self.machine.arch.address_mask

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Add the owner's entry of __per_cpu_offset[]: one reference."""
        word_bytes = self.machine.arch.word_bytes
        table = self.machine.symbol("__per_cpu_offset")
        return load(table + word_bytes * owner, word_bytes) + ptr & self.machine.arch.address_mask

    def holds(self, ptr: int) -> bool:
        """Say whether an area starts there."""
        return self.percpu.find_area(ptr) is not None

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Every possible CPU has a copy."""
        if owner not in self.machine.cpus:
            return None
        return self.per_cpu_offset(owner) + ptr & self.machine.arch.address_mask

    def per_cpu_offset(self, cpu: int) -> int:
        """The distance from a ptr to the CPU's copy; 0 for a CPU that is not possible."""
        if cpu not in self.machine.cpus:
            return 0
        base = self.percpu.base_addr - self.percpu.percpu_start
        return base + self.machine.places.unit_offsets[cpu] & self.machine.arch.address_mask

    def base_of(self, cpu: int) -> int:
        """The register holds the same offset."""
        return self.per_cpu_offset(cpu)

    def note_written(self, cpu: int, addr: int) -> None:
        """Remember that a chunk was written to, so that what is given out of it must be cleared."""
        chunk = self.chunk_around(addr)
        if chunk is not None and not chunk.written:
            chunk.written = chunk.changed = True

    def chunk_around(self, addr: int) -> AreaChunk | None:
        """Return the later chunk that has an address in the area of one of its groups."""
        places, bases = self.machine.places, self.percpu.chunk_bases
        for offset, size in zip(places.group_offsets, places.group_sizes, strict=True):
            at = bisect_right(bases, addr - offset) - 1
            if at >= 0 and addr - offset - bases[at] < size:
                return self.percpu.chunk_by_base[bases[at]]
        return None

    # -- looking ---------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield the units of every chunk, page by page and area by area."""
        return self.drawing.stretches()

    def metadata_bytes(self) -> int:
        """Return what chunk structs, maps and lists take in C."""
        return self.drawing.metadata_bytes()

    def owned_pages(self) -> Iterator[OwnedPage]:
        """Yield the pages of later chunks, and those of the first one that are not boot's."""
        return pages_of_stretches(self.drawing.chunk_stretches(), self.machine.space.translate)

    def nr_pages(self) -> int:
        """Return the pages behind all units."""
        nr_pages = (self.drawing.first_unit_bytes >> PAGE_SHIFT) * self.percpu.nr_possible_cpus
        for chunk in self.percpu.chunks.values():
            if chunk.number == FIRST and self.plan.how == STATIC:
                nr_pages = chunk.populated.bit_count() * self.percpu.nr_possible_cpus
        return nr_pages + sum(
            self.drawing.pages_of_chunk(chunk)
            for chunk in self.percpu.chunks.values()
            if chunk.number > FIRST
        )

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes) of every dynamic area, with what rounding gave it."""
        for chunk in self.percpu.chunks.values():
            if chunk.number != RESERVED:
                for offset, size_bytes in chunk.areas():
                    yield self.percpu.ptr_of(chunk.base_addr + offset), size_bytes

    def linear_offset(self, ptr: int) -> int | None:
        """Return an area's offset in the mail's numbering: chunks end to end, one unit of each."""
        found = self.percpu.find_area(ptr)
        if found is None:
            return None
        return self.percpu.linear_offset(*found)

    def facts(self) -> list[tuple[str, object]]:
        """Return its figures by name, and which chunks are on which list."""
        percpu = self.percpu
        chunks = percpu.chunks
        return [
            ("stage", percpu.stage.name),
            ("first_chunk", self.plan.how),
            ("chunks", sum(number >= FIRST for number in chunks)),
            ("unit_bytes", percpu.unit_size_bytes),
            ("nr_slots", len(percpu.slots.lists)),
            ("free_bytes", sum(chunk.area_map.free_bytes for chunk in chunks.values())),
            ("map_entries", sum(chunk.area_map.used_entries for chunk in chunks.values())),
            ("large_page_chunks", sum(bool(chunk.large_pfns) for chunk in chunks.values())),
            *(
                (f"slot_{slot}", " ".join(f"chunk {chunk.number}" for chunk in members))
                for slot, members in enumerate(percpu.slots.lists)
                if members
            ),
        ]

    def check(self, is_idle: bool) -> None:
        """Check maps, lists, address space and large pages."""
        check_areas(self.percpu, is_idle)
        if is_idle:
            if self.drawing.block_order < 0:
                check_chunk_areas(self.machine, self.percpu)
            else:
                check_blocks(self.machine, self.percpu, self.drawing.block_order)
            check_large_pages(self.machine, self.percpu, self.plan.large_shift)

    def check_loaded(self) -> None:
        """Check that a loaded state can be this machine's."""
        self.check(is_idle=True)

    # -- state -----------------------------------------------------------------------------------

    def dump(self, cache: Mapping[str, object]) -> Parts:
        """Return lists and counters as one part, every chunk as another."""
        return dump_areas(self.percpu, cache)

    def load(self, parts: Mapping[str, object], cache: Mapping[str, object]) -> None:
        """Take over a dumped state."""
        load_areas(self.percpu, parts, cache)

    def unnoticed_change(self, cache: Mapping[str, object]) -> str:
        """Return the part that changed without saying so, "" if all are honest."""
        return unnoticed_change(self.percpu, cache)


def new_percpu(machine: Machine, plan: AreaPlan, units: Units) -> AreaPercpu:
    """Return the allocator with its first chunk, as setup_per_cpu_areas() leaves it."""
    info, choices = plan.info, plan.choices
    percpu = AreaPercpu(
        host=machine,
        stage=choices.stage,
        nr_possible_cpus=len(units.places.cpus),
        unit_size_bytes=info.unit_size_bytes,
        base_addr=units.base_addr,
        word_bytes=machine.arch.word_bytes,
        percpu_start=0 if machine.arch.percpu_is_zero_based else machine.symbol("__per_cpu_start"),
        min_unit_bytes=min(choices.min_unit_bytes, info.unit_size_bytes),
    )
    nr_pages = info.unit_size_bytes >> PAGE_SHIFT
    if plan.how == STATIC:
        chunk = static_chunk(
            base_addr=units.base_addr,
            nr_pages=nr_pages,
            static_size_bytes=info.static_size_bytes,
            serves_rest=not choices.stage.static_alone,
        )
        percpu.add_first([chunk], 0)
        return percpu
    chunks = first_chunks(
        base_addr=units.base_addr,
        nr_pages=nr_pages,
        static_size_bytes=info.static_size_bytes,
        reserved_size_bytes=info.reserved_size_bytes,
        dyn_size_bytes=info.dyn_size_bytes,
    )
    has_reserved = info.reserved_size_bytes > 0
    limit = info.static_size_bytes + info.reserved_size_bytes if has_reserved else 0
    percpu.add_first(chunks, limit)
    return percpu
