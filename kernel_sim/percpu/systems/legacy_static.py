"""`legacy-static` with `legacy-ptrarray`: per-CPU memory of Linux from 2.6.13 to 2.6.29.

    image      .data.percpu │ S bytes │            names only: boot copies it and discards it
    i386       │ S │ modules' room │ S │ modules' room │ …      one bootmem block, areas end to end
    x86-64     │ S │ modules' room │                            an area on each CPU's own node
               A = max(align_up(S, L), PERCPU_ENOUGH_ROOM) bytes each, for every possible CPU

A static variable is its link address plus __per_cpu_offset[cpu]; on x86-64 the offset stands in the CPU's
PDA, reached through gs. A CPU that is not possible has offset 0: its variables are the discarded section.
Modules share what the kernel's section leaves of the area (module_room.py), dynamic areas are arrays of
pointers on the slab (pointer_array.py). From 2.6.20 on x86-64 keeps 8 KiB behind the section, no more.
Source: setup_per_cpu_areas(), Linux 2.6.17 init/main.c; arch/x86_64/kernel/setup64.c, 2.6.17 and 2.6.20.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from kernel_sim.alignment import align_up
from kernel_sim.component import from_plain
from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.boot_log import KERN_INFO, BootLine
from kernel_sim.percpu.module_room import ModuleRoom, RoomState
from kernel_sim.percpu.one_part import PART, differing_part, dump_one_part, unnoticed_in_one_part
from kernel_sim.percpu.options import Option
from kernel_sim.percpu.owned_page import OwnedPage
from kernel_sim.percpu.pda import PdaTable
from kernel_sim.percpu.pointer_array import PointerArea, PointerArray
from kernel_sim.percpu.protocol import IntPath, Load, Parts, Path
from kernel_sim.percpu.static_areas import (
    StaticAreas,
    copy_section,
    line_bytes_of,
    reserve_static_areas,
    use_slab_of_the_day,
)
from kernel_sim.percpu.stretch import TABLE, Stretch
from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.primitives import Lock

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine

ENOUGH_ROOM_BYTES = 32768
MODULE_RESERVE_BYTES = 8192
ERAS = ("2.6.17", "2.6.20")


@dataclass(slots=True)
class LegacyState:
    """All that lasts; pdas: CPU: where its PDA is, of those that left the image."""

    room: RoomState
    areas: dict[int, PointerArea]
    pdas: dict[int, int]


@dataclass(slots=True)
class LegacyStaticSystem:
    """Static areas, the modules' room and pointer arrays on one machine."""

    machine: Machine
    places: StaticAreas
    room: ModuleRoom
    pointers: PointerArray
    pda: PdaTable | None  # where the offset is kept on x86-64
    module_align_max: int
    name: str = "legacy-static"
    work_function: str = ""
    zeroes: bool = True
    keeps_alignment: bool = False
    locks: tuple[Lock, ...] = ()

    @property
    def percpu_start(self) -> int:
        """__per_cpu_start: the link address of the section's first byte."""
        return self.room.percpu_start

    @property
    def static_bytes(self) -> int:
        """The size of .data.percpu."""
        return self.room.static_bytes

    def boot_lines(self) -> tuple[BootLine, ...]:
        """Return what setup and the initcall for modules printed."""
        lines = [BootLine(level, text) for level, text in self.room.boot_lines()]
        if _keeps_reserve(self.machine.config):
            text = f"PERCPU: Allocating {self.places.area_bytes} bytes of per cpu data"
            lines.insert(0, BootLine(KERN_INFO, text))
        return tuple(lines)

    # -- what kernel code calls --------------------------------------------------------------------

    def alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path of __alloc_percpu()."""
        return self.pointers.alloc(cpu, size, align, reserved, gfp, call_site)

    def free(self, cpu: int, ptr: int) -> Path:
        """Return the path of free_percpu()."""
        return self.pointers.free(cpu, ptr)

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> IntPath:
        """Return the path of percpu_modalloc(): how many variables there are does not matter."""
        return self.room.percpu_modalloc(cpu, name, size, align)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Nothing to do: every copy has its memory."""
        return True

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Return the path of percpu_modfree()."""
        return self.room.percpu_modfree(cpu, ptr)

    def work_path(self, cpu: int) -> Path:
        """There is none."""
        raise KernelBug(f"cpu {cpu}: {self.name} has no background work")

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Every possible CPU has its area; on x86-64 a PDA of its node is tried for."""
        if self.pda is not None:
            self.pda.move_to_node(cpu, coming)
        return 0

    def cpu_dead(self, cpu: int, gone: int) -> None:
        """Nothing to do: area, objects and PDA stay."""

    # -- how a copy is reached ---------------------------------------------------------------------

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """Load the CPU's offset, or for a dynamic area its pointer: one reference."""
        if self.pda is None or self.pointers.is_disguised(ptr):
            return self.per_cpu(load, cpu, ptr, cpu)
        return self.pda.own_offset(load, cpu) + ptr & self.machine.arch.address_mask

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Load the owner's offset or pointer: one reference, but two for an offset in another CPU's PDA."""
        if self.pointers.is_disguised(ptr):
            return self.pointers.per_cpu(load, cpu, ptr, owner)
        arch = self.machine.arch
        if self.pda is not None:
            return self.pda.offset_of(load, owner) + ptr & arch.address_mask
        entry = self.machine.symbol("__per_cpu_offset") + arch.word_bytes * owner
        return load(entry, arch.word_bytes) + ptr & arch.address_mask

    def holds(self, ptr: int) -> bool:
        """Say whether a dynamic area or a module's section has this ptr."""
        return self.pointers.holds(ptr) or self.room.section_at(ptr) is not None

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's copy is; of a CPU that is not possible there is none."""
        if self.pointers.is_disguised(ptr):
            return self.pointers.copy_addr(ptr, owner)
        if owner not in self.places.addrs:
            return None
        return self.per_cpu_offset(owner) + ptr & self.machine.arch.address_mask

    def per_cpu_offset(self, cpu: int) -> int:
        """The distance from a link address to the CPU's copy; 0 for one that is not possible."""
        addr = self.places.addrs.get(cpu)
        return 0 if addr is None else addr - self.percpu_start & self.machine.arch.address_mask

    def base_of(self, cpu: int) -> int:
        """The address of its PDA, for gs; i386 uses no register."""
        return 0 if self.pda is None else self.pda.addr_of(cpu)

    def note_written(self, cpu: int, addr: int) -> None:
        """Nobody keeps track of what was written."""

    # -- looking -----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield the table of offsets, every CPU's area, the modules' block sizes, dynamic areas."""
        machine = self.machine
        if self.pda is not None:
            yield from self.pda.stretches()
        else:
            nr_cpus = machine.config.kernel.nr_cpus
            yield Stretch(
                "kernel image", machine.symbol("__per_cpu_offset"),
                nr_cpus * machine.arch.word_bytes, TABLE, f"__per_cpu_offset[{nr_cpus}]",
            )  # fmt: skip
        for cpu, addr in self.places.addrs.items():
            node = -1 if self.places.is_one_block else machine.topology.node_of_cpu[cpu]
            area = Stretch(
                f"area of cpu {cpu}", addr, self.places.size_of(cpu), "", "", cpu, node=node
            )
            yield from self.room.area_stretches(area)
        yield from self.room.array_stretches()
        yield from self.pointers.stretches()

    def metadata_bytes(self) -> int:
        """pcpu_num_used, pcpu_num_allocated and pcpu_size: all else lies in simulated memory."""
        return 2 * 4 + self.machine.arch.word_bytes

    def owned_pages(self) -> Iterator[OwnedPage]:
        """None: areas are boot memory, everything else is the slab's."""
        return iter(())

    def nr_pages(self) -> int:
        """The pages of all areas; dynamic areas count as slab."""
        return sum(self.places.size_of(cpu) for cpu in self.places.addrs) >> PAGE_SHIFT

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes as asked) of every dynamic area."""
        return self.pointers.live_areas()

    def facts(self) -> list[tuple[str, object]]:
        """Return its figures by name."""
        slots = self.room.state.slots
        return [
            ("area_bytes", self.places.area_bytes),
            ("module_room_bytes", max(self.room.room_bytes - abs(slots.sizes[0]), 0)),
            ("module_free_bytes", sum(size for size in slots.sizes[1:] if size > 0)),
            ("module_sections", len(self.room.state.sections)),
            ("pcpu_num_used", len(slots.sizes)),
            ("pcpu_num_allocated", slots.nr_allocated),
            *self.pointers.facts(),
        ]

    def check(self, is_idle: bool) -> None:
        """Check blocks and sections of the room when no call is under way, and every dynamic area."""
        if is_idle:
            self.room.check()
        self.pointers.check()

    def check_loaded(self) -> None:
        """Check that a loaded state can be this machine's, its addresses those of live objects."""
        slots = self.room.state.slots
        arch = self.machine.arch
        if slots.line_bytes != self.module_align_max or slots.word_bytes != arch.word_bytes:
            raise InvariantBroken("module slots of another cache line or word")
        self.room.check_loaded()
        self.pointers.check()
        if self.pda is not None:
            self.pda.check_loaded()

    # -- state -------------------------------------------------------------------------------------

    def dump(self, cache: Mapping[str, object]) -> Parts:
        """Return the whole state as one part, the one in cache if nothing changed."""
        parts = dump_one_part(self._state, cache, is_changed=self._is_changed)
        self._note_changed(False)
        return parts

    def load(self, parts: Mapping[str, object], cache: Mapping[str, object]) -> None:
        """Take over a dumped state, and point gs of every CPU to its PDA."""
        part = differing_part(parts, cache, self.name, is_changed=self._is_changed)
        if part is None:
            return
        state = from_plain(LegacyState, part, PART)
        self.room.state = state.room
        self.pointers.areas = state.areas
        if self.pda is not None:
            self.pda.moved = state.pdas
            for number, cpu in self.machine.cpus.items():
                cpu.gs_base = self.pda.addr_of(number)
        self._note_changed(False)

    def unnoticed_change(self, cache: Mapping[str, object]) -> str:
        """Return "system" if it changed without saying so."""
        return unnoticed_in_one_part(self._state, cache, is_changed=self._is_changed)

    def _state(self) -> LegacyState:
        return LegacyState(
            self.room.state, self.pointers.areas, self.pda.moved if self.pda is not None else {}
        )

    @property
    def _is_changed(self) -> bool:
        pda_changed = self.pda is not None and self.pda.changed
        return self.room.changed or self.pointers.changed or pda_changed

    def _note_changed(self, changed: bool) -> None:
        self.room.changed = self.pointers.changed = changed
        if self.pda is not None:
            self.pda.changed = changed


# -- boot ------------------------------------------------------------------------------------------


def _keeps_reserve(config: MachineConfig) -> bool:
    """Say whether an area is the section and 8 KiB, whatever PERCPU_ENOUGH_ROOM was elsewhere."""
    return config.kernel.arch.is_64bit and config.percpu.option("era") == "2.6.20"


def room_bytes(config: MachineConfig) -> int:
    """Return what each CPU's area is meant to hold: kernel and modules. Source: PERCPU_ENOUGH_ROOM."""
    if _keeps_reserve(config):
        line_bytes = cast("int", config.percpu.option("cache_line_bytes"))
        return align_up(config.percpu.static_bytes, line_bytes) + MODULE_RESERVE_BYTES
    return cast("int", config.percpu.option("enough_room_bytes"))


def place_static_areas(early: EarlyMemory) -> StaticAreas:
    """Take memory for every possible CPU's area. Raises ConfigError for options or memory that cannot be."""
    config = early.config
    line_bytes = line_bytes_of(config)
    if _keeps_reserve(config) and config.percpu.option("enough_room_bytes") != ENOUGH_ROOM_BYTES:
        raise ConfigError(
            f"{config.name}: [percpu.options] enough_room_bytes: not for era 2.6.20 on x86-64, which"
            f" keeps {MODULE_RESERVE_BYTES} bytes for modules; expected no such key"
        )
    area_bytes = max(align_up(config.percpu.static_bytes, line_bytes), room_bytes(config))
    return reserve_static_areas(early, area_bytes)


def boot_legacy_static(machine: Machine, placed: StaticAreas) -> LegacyStaticSystem:
    """Copy the section to every area, and set up what finds it, modules' room and pointer arrays."""
    config = machine.config
    line_bytes = cast("int", config.percpu.option("cache_line_bytes"))
    start = machine.symbol("__per_cpu_start")
    if start % line_bytes:
        raise ConfigError(
            f"{config.name}: [symbols] __per_cpu_start: {start:#x}; expected a multiple of"
            f" {line_bytes}, the cache line"
        )
    use_slab_of_the_day(machine, line_bytes)
    for addr in placed.addrs.values():
        copy_section(machine, start, addr)
    room = ModuleRoom.at_boot(
        machine, percpu_start=start, room_bytes=room_bytes(config), line_bytes=line_bytes
    )
    pointers = PointerArray(machine, clears_table=config.percpu.option("era") == "2.6.20")
    system = LegacyStaticSystem(machine, placed, room, pointers, None, line_bytes)
    if machine.arch.is_64bit:
        offsets = {cpu: system.per_cpu_offset(cpu) for cpu in placed.addrs}
        system.pda = PdaTable.at_boot(machine, line_bytes, offsets)
    return system


ENTRY = SystemEntry(
    name="legacy-static",
    title="static copies in one room, pointer arrays for dynamic areas",
    years="2002 to 2009 (2.6.13 to 2.6.29)",
    arches=("i386", "x86-64"),
    place=place_static_areas,
    boot=boot_legacy_static,
    options=(
        Option(
            "enough_room_bytes", ENOUGH_ROOM_BYTES, "PERCPU_ENOUGH_ROOM: the least size of an area",
            lowest=1, highest=1 << 24,
        ),
        Option(
            "cache_line_bytes", 128, "SMP_CACHE_BYTES: 128 Pentium 4 and generic, 64 K8, 32 P6",
            lowest=16, highest=256,
        ),
        Option("era", "2.6.17", "2.6.20: x86-64 keeps 8 KiB for modules, pointer arrays are cleared", ERAS),
    ),
    static_bytes=17892,  # of the build in the mail of April 2006 that criticises this design
    nr_cpus=(("i386", 8), ("x86-64", 8)),
    pages="2.6.20",
)  # fmt: skip
