"""`block-2005`: R. Thirumalai's alloc_percpu(), reviewed in January and posted again in September 2005.

    static variables, modules    as in every kernel of the day: systems/legacy_static.py
    dynamic areas                objects in blocks; a copy is at  ptr + cpu * 8192,  no reference to find it

A block is address space for NR_CPUS times 8 KiB and its management pages; only possible CPUs have pages, each
on its own node. Small objects of all callers lie side by side. block_alloc.py is the allocator,
block_area.py its memory, block_memory.py what it writes there.
Source: "[patch] mm: Reimplementation of dynamic percpu memory allocator", LKML, 13 and 14 Jan 2005;
"[patch 2/11]", "[patch 3/11]", "[patch 11/11]" of the same, 13 Sep 2005.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from kernel_sim.errors import KernelBug
from kernel_sim.percpu.block_alloc import __alloc_percpu as alloc_percpu
from kernel_sim.percpu.block_alloc import alloc_percpu_notify, free_percpu
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, PAGES_PER_CPU
from kernel_sim.percpu.block_percpu import POSTINGS, BlockOptions, BlockPercpu
from kernel_sim.percpu.block_state import check_blocks, dump_blocks, load_blocks, unnoticed_change
from kernel_sim.percpu.block_stretches import block_stretches, scratch_bytes
from kernel_sim.percpu.boot_log import BootLine
from kernel_sim.percpu.options import Option
from kernel_sim.percpu.owned_page import OwnedPage, pages_of_stretches
from kernel_sim.percpu.protocol import IntPath, Load, Parts, Path
from kernel_sim.percpu.static_areas import StaticAreas
from kernel_sim.percpu.stretch import Stretch
from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.percpu.systems.legacy_static import ENTRY as LEGACY_STATIC
from kernel_sim.percpu.systems.legacy_static import (
    LegacyStaticSystem,
    boot_legacy_static,
    place_static_areas,
)
from kernel_sim.primitives import Lock

if TYPE_CHECKING:
    from kernel_sim.machine import Machine


@dataclass(slots=True)
class BlockSystem:
    """Static areas and modules' room of the day, and blocks, on one machine."""

    machine: Machine
    statics: LegacyStaticSystem
    percpu: BlockPercpu
    name: str = "block-2005"
    work_function: str = ""
    zeroes: bool = True
    keeps_alignment: bool = True

    @property
    def percpu_start(self) -> int:
        """__per_cpu_start."""
        return self.statics.percpu_start

    @property
    def static_bytes(self) -> int:
        """The size of .data.percpu."""
        return self.statics.static_bytes

    @property
    def module_align_max(self) -> int:
        """A cache line."""
        return self.statics.module_align_max

    @property
    def locks(self) -> tuple[Lock, ...]:
        """blklist_lock."""
        return (*self.statics.locks, self.percpu.lock)

    def boot_lines(self) -> tuple[BootLine, ...]:
        """Return what the static half printed; blocks are made later and in silence."""
        return self.statics.boot_lines()

    # -- what kernel code calls ------------------------------------------------------------------

    def alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path of __alloc_percpu()."""
        return alloc_percpu(self.percpu, cpu, size, align, gfp, call_site)

    def free(self, cpu: int, ptr: int) -> Path:
        """Return the path of free_percpu()."""
        return free_percpu(self.percpu, cpu, ptr)

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> IntPath:
        """Return the path of percpu_modalloc()."""
        return self.statics.modalloc(cpu, name, size, align, nr_variables, call_site)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Nothing to do: every copy has its memory."""
        return self.statics.take_image(cpu, ptr, image)

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Return the path of percpu_modfree()."""
        return self.statics.modfree(cpu, ptr)

    def work_path(self, cpu: int) -> Path:
        """There is none."""
        raise KernelBug(f"cpu {cpu}: {self.name} has no background work")

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Give every block pages for a CPU that was not known when it was made."""
        return self.statics.cpu_prepare(cpu, coming) or alloc_percpu_notify(
            self.percpu, cpu, coming
        )

    def cpu_dead(self, cpu: int, gone: int) -> None:
        """Its pages stay."""
        self.statics.cpu_dead(cpu, gone)

    # -- how a copy is reached -------------------------------------------------------------------

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """Add 8192 a CPU: no reference. A static variable costs what it did."""
        if self._is_dynamic(ptr):
            return self._copy_of(ptr, cpu)
        return self.statics.this_cpu(load, cpu, ptr)

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Add 8192 a CPU: no reference. A static variable costs what it did."""
        if self._is_dynamic(ptr):
            return self._copy_of(ptr, owner)
        return self.statics.per_cpu(load, cpu, ptr, owner)

    def holds(self, ptr: int) -> bool:
        """Say whether an object or a module's section has this ptr."""
        return self.percpu.pool.objects.find(ptr) is not None or self.statics.holds(ptr)

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's copy is; a CPU that is not possible has none."""
        if self._is_dynamic(ptr):
            return self.percpu.copy_addr(ptr, owner)
        return self.statics.copy_addr(ptr, owner)

    def per_cpu_offset(self, cpu: int) -> int:
        """The distance from a static variable's link address to the CPU's copy."""
        return self.statics.per_cpu_offset(cpu)

    def base_of(self, cpu: int) -> int:
        """What the static half keeps in the register."""
        return self.statics.base_of(cpu)

    def note_written(self, cpu: int, addr: int) -> None:
        """Nobody keeps track of what was written."""

    def _is_dynamic(self, ptr: int) -> bool:
        """Blocks are in vmalloc space, where no static variable's link address is."""
        return self.machine.vmalloc.start <= ptr <= self.machine.vmalloc.end

    def _copy_of(self, ptr: int, owner: int) -> int:
        return ptr + owner * BLOCK_BYTES & self.machine.arch.address_mask

    # -- looking ---------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield the static half, then every block with its management pages."""
        yield from self.statics.stretches()
        yield from block_stretches(self.percpu)

    def metadata_bytes(self) -> int:
        """The static half's, and the array in which free runs are sorted."""
        return self.statics.metadata_bytes() + scratch_bytes(self.percpu)

    def owned_pages(self) -> Iterator[OwnedPage]:
        """Yield the pages of blocks."""
        yield from self.statics.owned_pages()
        translate = self.machine.space.translate
        yield from pages_of_stretches(block_stretches(self.percpu), translate)

    def nr_pages(self) -> int:
        """The pages of static areas and of CPUs' parts of blocks."""
        blocks = self.percpu.pool.blocks.values()
        nr_parts = sum(len(block.cpu_pfns) for block in blocks)
        return self.statics.nr_pages() + PAGES_PER_CPU * nr_parts

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes in whole currency units) of every object, the oldest first."""
        for buf_ctl in reversed(list(self.percpu.pool.objects)):
            yield buf_ctl.addr, buf_ctl.size_bytes

    def facts(self) -> list[tuple[str, object]]:
        """Return its figures by name."""
        pool, geometry = self.percpu.pool, self.percpu.geometry
        first = pool.order.first_not_full
        return [
            ("blocks", len(pool.blocks)),
            ("objects", len(pool.objects)),
            ("used_bytes", pool.used_bytes),
            ("room_bytes", pool.room_bytes),
            ("firstnotfull", "blkhead" if first is None else f"block {first.number}"),
            ("block_management_pages", geometry.nr_management_pages),
            ("stack_bytes", geometry.stack_bytes),
            ("currency_bytes", geometry.currency_bytes),
            ("block_address_space_bytes", geometry.area_bytes),
            *(fact for fact in self.statics.facts() if not fact[0].startswith("pointer_array")),
        ]

    def check(self, is_idle: bool) -> None:
        """Check lists, maps and pages, and that the management pages say the same."""
        self.statics.check(is_idle)
        check_blocks(self.percpu)
        self.percpu.memory.check(self.percpu.pool)

    def check_loaded(self) -> None:
        """Check all but the bytes in the management pages."""
        self.statics.check_loaded()
        check_blocks(self.percpu)

    # -- state -----------------------------------------------------------------------------------

    def dump(self, cache: Mapping[str, object]) -> Parts:
        """Return the static half's part, the lists, and one part for each block."""
        return self.statics.dump(cache) | dump_blocks(self.percpu, cache)

    def load(self, parts: Mapping[str, object], cache: Mapping[str, object]) -> None:
        """Take over a dumped state."""
        self.statics.load(parts, cache)
        load_blocks(self.percpu, parts, cache)

    def unnoticed_change(self, cache: Mapping[str, object]) -> str:
        """Return what changed without saying so."""
        return self.statics.unnoticed_change(cache) or unnoticed_change(self.percpu, cache)


def boot_block_2005(machine: Machine, placed: StaticAreas) -> BlockSystem:
    """Set up the static half and an allocator without blocks. Raises ConfigError."""
    option = machine.config.percpu.option
    options = BlockOptions(
        posting=cast("str", option("posting")),
        as_posted=cast("bool", option("as_posted")),
        mail_mode=cast("bool", option("mail_mode")),
        grows=option("possible_map") == "grows",
    )
    statics = boot_legacy_static(machine, placed)
    return BlockSystem(machine, statics, BlockPercpu.at_boot(machine, options))


ENTRY = SystemEntry(
    name="block-2005",
    title="blocks of 8 KiB a CPU at fixed distances, static variables as before",
    years="2004 to 2005, never merged",
    arches=("i386", "x86-64"),
    place=place_static_areas,
    boot=boot_block_2005,
    options=(
        Option(
            "posting", "sep",
            "what pages are asked for with, and the unit: jan 13 Jan 2005, review its answer, sep"
            " [patch 2/11], caller [patch 3/11]", POSTINGS,
        ),
        Option("as_posted", False, "with the posting's mistakes: list, page array, unmapping"),
        Option("mail_mode", False, "no page pointers in the descriptor: its size is without NR_CPUS"),
        Option(
            "possible_map", "complete", "grows: a CPU is possible only once it comes up",
            ("complete", "grows"),
        ),
        *LEGACY_STATIC.options,
    ),
    static_bytes=LEGACY_STATIC.static_bytes,
    nr_cpus=LEGACY_STATIC.nr_cpus,
    pages="2.6.20",
)  # fmt: skip
