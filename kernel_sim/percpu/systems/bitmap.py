"""`bitmap`: the allocator of Linux 4.14 to 6.x, behind the protocol of all per-CPU systems.

The allocator itself is percpu/bitmap.py; here is what ties it to a machine: its first chunk at boot, the
way of an access, its pages and its state.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from kernel_sim.errors import ConfigError, DoubleFree, KernelBug
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.tlb_flush import flush_tlb_kernel_range
from kernel_sim.percpu.backing_km import KmBacking
from kernel_sim.percpu.backing_vm import VmBacking
from kernel_sim.percpu.balance import pcpu_balance_workfn
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.bitmap_check import (
    check_chunk,
    check_chunk_areas,
    check_counts,
    check_lists,
    chunk_pages,
)
from kernel_sim.percpu.bitmap_loaded import BootShape, check_loaded_bitmap, shape_at_boot
from kernel_sim.percpu.bitmap_stretches import bitmap_stretches, metadata_bytes
from kernel_sim.percpu.boot_log import BootLine, percpu_lines
from kernel_sim.percpu.chunk import RESERVED, Chunk
from kernel_sim.percpu.first_chunk import setup_first_chunk
from kernel_sim.percpu.md_block import MIN_ALLOC_SHIFT
from kernel_sim.percpu.owned_page import OwnedPage
from kernel_sim.percpu.protocol import IntPath, Load, Parts, Path
from kernel_sim.percpu.slots import ChunkSlots
from kernel_sim.percpu.state import Dump, dump_chunk, dump_percpu, load_chunk, load_percpu
from kernel_sim.percpu.stretch import Stretch
from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.percpu.unit_boot import UnitMemory, map_units, place_units
from kernel_sim.primitives import Lock
from kernel_sim.same_state import is_same

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

CHUNK_PREFIX = "chunk."


@dataclass(slots=True)
class BitmapSystem:
    """The bitmap allocator on one machine."""

    machine: Machine
    percpu: BitmapPercpu
    static_bytes: int
    shape: BootShape
    name: str = "bitmap"
    work_function: str = "pcpu_balance_workfn"
    module_align_max: int = PAGE_SIZE_BYTES
    zeroes: bool = True
    keeps_alignment: bool = True

    @property
    def percpu_start(self) -> int:
        """__per_cpu_start, or 0 on x86-64."""
        return self.percpu.percpu_start

    @property
    def locks(self) -> tuple[Lock, ...]:
        """pcpu_alloc_mutex and pcpu_lock."""
        return self.percpu.mutex, self.percpu.lock

    def boot_lines(self) -> tuple[BootLine, ...]:
        """Return what setup_per_cpu_areas() printed."""
        return percpu_lines(self.machine.config, self.machine.percpu_units.group_phys)

    # -- what kernel code calls ------------------------------------------------------------------

    def alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path of pcpu_alloc()."""
        return self.percpu.pcpu_alloc(cpu, size, align, reserved, gfp, call_site)

    def free(self, cpu: int, ptr: int) -> Path:
        """Return the path of free_percpu()."""
        return self.percpu.free_percpu(cpu, ptr)

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> IntPath:
        """Return the path of a request to the reserved chunk."""
        return self.percpu.pcpu_alloc(cpu, size, align, True, GFP_KERNEL, call_site)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Nothing to do: every copy has its memory."""
        return True

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Return the path of free_percpu()."""
        return self.percpu.free_percpu(cpu, ptr)

    def work_path(self, cpu: int) -> Path:
        """Return the path of the balance work."""
        return pcpu_balance_workfn(self.percpu, cpu)

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Nothing to do: every possible CPU has its unit."""
        return 0

    def cpu_dead(self, cpu: int, gone: int) -> None:
        """Nothing to do: the unit stays."""

    # -- how a copy is reached -------------------------------------------------------------------

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """Add the base register: no reference."""
        return self.machine.cpus[cpu].gs_base + ptr

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Add the owner's entry of __per_cpu_offset[]: one reference."""
        word_bytes = self.machine.arch.word_bytes
        table = self.machine.symbol("__per_cpu_offset")
        return load(table + word_bytes * owner, word_bytes) + ptr & self.machine.arch.address_mask

    def holds(self, ptr: int) -> bool:
        """Say whether an area starts there."""
        try:
            self.percpu.area_at(0, ptr)
        except DoubleFree:
            return False
        return True

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
        """Remember that a unit of a chunk was written, which an allocation must clear from then on."""
        units = self.machine.percpu_units
        for chunk in self.percpu.chunks_around(addr, units.places.group_offsets):
            offset = addr - chunk.base_addr
            unit = bisect_right(units.starts, offset) - 1
            inside = unit >= 0 and offset - units.starts[unit] < chunk.nr_pages << PAGE_SHIFT
            if inside and not chunk.written:
                chunk.written = chunk.changed = True

    # -- looking ---------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield the units of every chunk, page by page and area by area."""
        return bitmap_stretches(self.machine, self.percpu)

    def metadata_bytes(self) -> int:
        """Return what chunk structs, bitmaps and block hints take in C."""
        return metadata_bytes(self.percpu)

    def owned_pages(self) -> Iterator[OwnedPage]:
        """Yield the pages of later chunks; the first one's are boot memory."""
        check_chunk_areas(self.machine)
        return chunk_pages(self.machine)

    def nr_pages(self) -> int:
        """Source: pcpu_nr_pages(), Linux 6.1."""
        return self.percpu.nr_populated * self.machine.alloc_info.nr_units

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes) of every area."""
        for chunk in self.percpu.chunks.values():
            for bit, nr_bits in chunk.areas():
                addr = chunk.base_addr + (bit << MIN_ALLOC_SHIFT)
                yield self.percpu.ptr_of(addr), nr_bits << MIN_ALLOC_SHIFT

    def facts(self) -> list[tuple[str, object]]:
        """Return its figures by name."""
        return [
            ("chunks", len(self.percpu.chunks)),
            ("unit_bytes", self.percpu.unit_size_bytes),
            ("empty_pop_pages", self.percpu.nr_empty_pop_pages),
        ]

    def check(self, is_idle: bool) -> None:
        """Check every chunk and the lists; counters and areas when no call is under way."""
        for chunk in self.percpu.chunks.values():
            check_chunk(chunk)
        check_lists(self.percpu)
        if is_idle:
            check_counts(self.machine)

    def check_loaded(self) -> None:
        """Check all but hints and pages."""
        check_loaded_bitmap(self.machine, self.shape)

    # -- state -----------------------------------------------------------------------------------

    def dump(self, cache: Mapping[str, object]) -> Parts:
        """Return counters and lists as one part, every chunk as another."""
        parts: Parts = {"percpu": dump_percpu(self.percpu)}
        for number, chunk in self.percpu.chunks.items():
            name = f"{CHUNK_PREFIX}{number}"
            known = cache.get(name)
            if chunk.changed or known is None:
                known = dump_chunk(chunk)
                chunk.changed = False
            parts[name] = known
        return parts

    def load(self, parts: Mapping[str, object], cache: Mapping[str, object]) -> None:
        """Load the chunks that differ, then counters and lists."""
        chunks: dict[int, Chunk] = {}
        for name, part in parts.items():
            if name.startswith(CHUNK_PREFIX):
                held = self.percpu.chunks.get(_number_in(name))
                unchanged = held is not None and not held.changed and cache.get(name) is part
                chunk = held if unchanged and held else load_chunk(cast("Dump", part))
                if name != f"{CHUNK_PREFIX}{chunk.number}":
                    raise KernelBug(f"{name} is of chunk {chunk.number}")
                chunks[chunk.number] = chunk
        if "percpu" not in parts:
            raise KernelBug(f"no part 'percpu'; expected the state of {self.name}")
        load_percpu(self.percpu, cast("Dump", parts["percpu"]), chunks)

    def unnoticed_change(self, cache: Mapping[str, object]) -> str:
        """Return the part that changed without saying so, "" if all are honest."""
        for number, chunk in self.percpu.chunks.items():
            known = cache.get(f"{CHUNK_PREFIX}{number}")
            if not chunk.changed and known is not None and not is_same(known, dump_chunk(chunk)):
                return f"chunk {number}"
        return ""


def boot_bitmap(machine: Machine, placed: UnitMemory) -> BitmapSystem:
    """Make the allocator and give it its first chunk. Raises ConfigError for km with two groups."""
    machine.units = units = map_units(machine, placed)
    config, info, places = machine.config, units.info, units.places
    backing: KmBacking | VmBacking
    if config.percpu.backend == "km":
        if len(info.groups) > 1:
            raise ConfigError(
                f"{config.name}: [percpu] backend: percpu-km serves one group, this machine has"
                f' {len(info.groups)}; expected "vm"'
            )
        backing = KmBacking(
            places, machine.pages, machine.memory, machine.space, machine.arch.direct_map_addr
        )
    else:
        backing = VmBacking(places, machine.pages, machine.memory, machine.space, machine.vmalloc)
        backing.flush = partial(flush_tlb_kernel_range, machine)
    if machine.tlbs:
        backing.access = machine.access
    percpu = BitmapPercpu(
        host=machine,
        backing=backing,
        nr_possible_cpus=len(places.cpus),
        unit_size_bytes=info.unit_size_bytes,
        base_addr=units.base_addr,
        slots=ChunkSlots.for_unit(info.unit_size_bytes),
        free_hint_fixed=config.percpu.free_hint == "fixed",
        word_bytes=machine.arch.word_bytes,
        percpu_start=0 if machine.arch.percpu_is_zero_based else machine.symbol("__per_cpu_start"),
    )
    machine.bitmap = percpu
    setup_first_chunk(
        percpu,
        static_size_bytes=info.static_size_bytes,
        reserved_size_bytes=info.reserved_size_bytes,
        dyn_size_bytes=info.dyn_size_bytes,
    )
    return BitmapSystem(machine, percpu, info.static_size_bytes, shape_at_boot(percpu))


def _number_in(name: str) -> int:
    """Return the chunk that a part's name names, one that no chunk has for nonsense."""
    digits = name.removeprefix(CHUNK_PREFIX)
    return (
        int(digits) if len(digits) < 20 and digits.removeprefix("-").isdecimal() else RESERVED - 1
    )


ENTRY = SystemEntry(
    name="bitmap",
    title="chunks with allocation bitmaps and hints",
    years="2017 to today (4.14 to 6.x)",
    arches=("x86-64", "i386"),
    place=place_units,
    boot=boot_bitmap,
    keys=(
        "backend", "first_chunk", "reserved_bytes", "dynamic_bytes", "atom_bytes", "distance_fn",
        "free_hint", "group_phys",
    ),
    zero_based=True,
    lays_out_units=True,
)  # fmt: skip
