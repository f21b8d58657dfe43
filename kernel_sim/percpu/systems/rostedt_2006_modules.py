"""`rostedt-2006-modules`: a pointer for every per-CPU variable, so that modules need no room of the kernel's.

    .data.percpu_offset  │ ● │ ● │ ● │ …      in the image, once for all CPUs: per_cpu_offset__v
                           └───┴───┴──► __per_cpu_offset[] │ area 0 - start │ area 1 - start │ …
    areas                │ S bytes, rounded to a cache line │ …      no PERCPU_ENOUGH_ROOM behind them
    a module's variables point to the module's own table instead (offset_tables.py)

    per_cpu(v, c) = &per_cpu__v + per_cpu_offset__v[c]      the pointer, the entry, the datum: 3 references

The design is for kernels with both SMP and MODULES. Without MODULES all is as before, one array of offsets
and no room for modules; without SMP a variable is a variable. On x86-64 the generic header takes the place
of the PDA's offset. Dynamic areas are pointer arrays, as they were.
Source: "[PATCH 00/05] robust per_cpu allocation for modules", 14 April 2006; its second version for x86-64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from kernel_sim.alignment import align_up
from kernel_sim.component import from_plain
from kernel_sim.errors import BadAccess, ConfigError, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.boot_log import BootLine
from kernel_sim.percpu.kernel_pointers import KernelPointers
from kernel_sim.percpu.offset_tables import ModuleTable, OffsetTables
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
from kernel_sim.percpu.stretch import PADDING, STATIC, TABLE, Stretch
from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.percpu.systems.legacy_static import ENTRY as LEGACY_STATIC
from kernel_sim.primitives import Lock

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine

OFFSET_SECTION_BYTES = 4368
BY_POINTER = "pointer"
BY_ARRAY = "array"
BY_PDA = "pda"
PLAIN = "plain"


@dataclass(slots=True)
class RostedtModulesState:
    """All that lasts; pdas: CPU: where its PDA is, of those that left the image."""

    tables: dict[int, ModuleTable]
    areas: dict[int, PointerArea]
    pdas: dict[int, int]


@dataclass(slots=True)
class RostedtModulesSystem:
    """The kernel's areas, its pointers, the modules' tables, and pointer arrays on one machine.

    way: how a static variable is reached, BY_POINTER unless the build lacks SMP or MODULES.
    """

    machine: Machine
    way: str
    places: StaticAreas
    kernel: KernelPointers
    tables: OffsetTables
    pointers: PointerArray
    module_align_max: int
    pda: PdaTable | None = None
    name: str = "rostedt-2006-modules"
    work_function: str = ""
    zeroes: bool = True
    keeps_alignment: bool = False
    locks: tuple[Lock, ...] = ()

    @property
    def percpu_start(self) -> int:
        """__per_cpu_start: the link address of the section's first byte."""
        return self.kernel.percpu_start

    @property
    def static_bytes(self) -> int:
        """The size of .data.percpu."""
        return self.kernel.static_bytes

    def boot_lines(self) -> tuple[BootLine, ...]:
        """Nothing was printed."""
        return ()

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
        """Return the path that gives the module its copies, table and pointers."""
        return self.tables.percpu_modalloc(cpu, name, size, nr_variables)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Nothing to do: every copy has its memory."""
        return True

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Return the path of percpu_modfree()."""
        return self.tables.percpu_modfree(cpu, ptr)

    def work_path(self, cpu: int) -> Path:
        """There is none."""
        raise KernelBug(f"cpu {cpu}: {self.name} has no background work")

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Every possible CPU has its area; where a PDA is used, one of its node is tried for."""
        if self.pda is not None:
            self.pda.move_to_node(cpu, coming)
        return 0

    def cpu_dead(self, cpu: int, gone: int) -> None:
        """Nothing to do: area, copies and objects stay."""

    # -- how a copy is reached ---------------------------------------------------------------------

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """There is no shorter way to one's own copy but through the PDA, where that is used."""
        if self.pda is None or self.pointers.is_disguised(ptr):
            return self.per_cpu(load, cpu, ptr, cpu)
        return self.pda.own_offset(load, cpu) + ptr & self.machine.arch.address_mask

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Load the variable's pointer, then the owner's entry where it points to: two references.

        Raises BadAccess for what is no variable of kernel or module.
        """
        arch = self.machine.arch
        if self.pointers.is_disguised(ptr):
            return self.pointers.per_cpu(load, cpu, ptr, owner)
        if self.way == PLAIN:
            return ptr
        if self.pda is not None:
            return self.pda.offset_of(load, owner) + ptr & arch.address_mask
        table = self.machine.symbol("__per_cpu_offset")
        if self.way == BY_POINTER:
            table = load(self._pointer_addr(cpu, ptr), arch.word_bytes)
        return load(table + owner * arch.word_bytes, arch.word_bytes) + ptr & arch.address_mask

    def _pointer_addr(self, cpu: int, ptr: int) -> int:
        if self._is_static(ptr):
            return self.kernel.addr_of(ptr)
        module = self.tables.table_of(ptr)
        if module is None:
            raise BadAccess(
                f"cpu {cpu}: {ptr:#x} is the link address of no per-CPU variable; expected one of the"
                " kernel's section or of a module's"
            )
        return self.tables.pointer_addr(ptr, module)

    def _is_static(self, ptr: int) -> bool:
        return 0 <= ptr - self.percpu_start < self.static_bytes

    def holds(self, ptr: int) -> bool:
        """Say whether a dynamic area or a module's section has this ptr."""
        return self.pointers.holds(ptr) or ptr in self.tables.tables

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's copy is; of a CPU that is not possible there is none to use."""
        if self.pointers.is_disguised(ptr):
            return self.pointers.copy_addr(ptr, owner)
        if owner not in self.places.addrs:
            return None
        if self._is_static(ptr):
            return self.per_cpu_offset(owner) + ptr & self.machine.arch.address_mask
        return self.tables.copy_addr(ptr, owner)

    def per_cpu_offset(self, cpu: int) -> int:
        """The distance from a kernel variable's link address to the CPU's copy; 0 if it has none."""
        addr = self.places.addrs.get(cpu)
        return 0 if addr is None else addr - self.percpu_start & self.machine.arch.address_mask

    def base_of(self, cpu: int) -> int:
        """No register is used, but gs for a PDA."""
        return 0 if self.pda is None else self.pda.addr_of(cpu)

    def note_written(self, cpu: int, addr: int) -> None:
        """Nobody keeps track of what was written."""

    # -- looking -----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield what an access reads, every CPU's area, the modules' memory, dynamic areas."""
        machine = self.machine
        if self.way == BY_POINTER:
            yield self.kernel.stretch()
        if self.way in (BY_POINTER, BY_ARRAY):
            nr_cpus = machine.config.kernel.nr_cpus
            yield Stretch(
                "kernel image", machine.symbol("__per_cpu_offset"),
                nr_cpus * machine.arch.word_bytes, TABLE, f"__per_cpu_offset[{nr_cpus}]",
            )  # fmt: skip
        if self.pda is not None:
            yield from self.pda.stretches()
        for cpu in self.places.addrs:
            yield from self._area(cpu)
        yield from self.tables.stretches()
        yield from self.pointers.stretches()

    def _area(self, cpu: int) -> Iterator[Stretch]:
        strip, addr = f"area of cpu {cpu}", self.places.addrs[cpu]
        node = -1 if self.places.is_one_block else self.machine.topology.node_of_cpu[cpu]
        yield Stretch(strip, addr, self.static_bytes, STATIC, "static variables", cpu, node=node)
        if self.way == PLAIN:
            return
        ends = (
            (self.places.area_bytes, "rest of the cache line"),
            (self.places.size_of(cpu), "rest of the page"),
        )
        at = self.static_bytes
        for end, what in ends:
            if end > at:
                yield Stretch(strip, addr + at, end - at, PADDING, what, cpu, node=node)
            at = end

    def metadata_bytes(self) -> int:
        """What struct module has for it, its pointers to copies and table: the rest is in memory."""
        return 2 * self.machine.arch.word_bytes * len(self.tables.tables)

    def owned_pages(self) -> Iterator[OwnedPage]:
        """None: areas are boot memory, everything else is the slab's or a module's."""
        return iter(())

    def nr_pages(self) -> int:
        """The pages of all areas; everything else counts as slab."""
        if self.way == PLAIN:
            return 0
        return sum(self.places.size_of(cpu) for cpu in self.places.addrs) >> PAGE_SHIFT

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes as asked) of every dynamic area."""
        return self.pointers.live_areas()

    def facts(self) -> list[tuple[str, object]]:
        """Return its figures by name."""
        return [
            ("area_bytes", self.places.area_bytes),
            ("percpu_offset_bytes", self.kernel.nr_bytes if self.way == BY_POINTER else 0),
            ("percpu_offset_pointers", self.kernel.nr_pointers if self.way == BY_POINTER else 0),
            ("named_variables", len(self.kernel.variables)),
            ("module_tables", len(self.tables.tables)),
            *self.pointers.facts(),
        ]

    def check(self, is_idle: bool) -> None:
        """Check the kernel's pointers, every module's copies, table and pointers, every dynamic area."""
        if self.way == BY_POINTER:
            self.kernel.check(self.machine)
        self.tables.check()
        self.pointers.check()

    def check_loaded(self) -> None:
        """Check that a loaded state can be this machine's, its addresses those of live objects."""
        self.tables.check_objects()
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
        """Take over a dumped state, and point gs to PDAs where they are used."""
        part = differing_part(parts, cache, self.name, is_changed=self._is_changed)
        if part is None:
            return
        state = from_plain(RostedtModulesState, part, PART)
        self.tables.tables, self.pointers.areas = state.tables, state.areas
        if self.pda is not None:
            self.pda.moved = state.pdas
            for number, cpu in self.machine.cpus.items():
                cpu.gs_base = self.pda.addr_of(number)
        self._note_changed(False)

    def unnoticed_change(self, cache: Mapping[str, object]) -> str:
        """Return "system" if it changed without saying so."""
        return unnoticed_in_one_part(self._state, cache, is_changed=self._is_changed)

    def _state(self) -> RostedtModulesState:
        pdas = self.pda.moved if self.pda is not None else {}
        return RostedtModulesState(self.tables.tables, self.pointers.areas, pdas)

    @property
    def _is_changed(self) -> bool:
        pda_changed = self.pda is not None and self.pda.changed
        return self.tables.changed or self.pointers.changed or pda_changed

    def _note_changed(self, changed: bool) -> None:
        self.tables.changed = self.pointers.changed = changed
        if self.pda is not None:
            self.pda.changed = changed


# -- boot ------------------------------------------------------------------------------------------


def _way(config: MachineConfig) -> str:
    """Return how a build reaches static variables."""
    if not config.percpu.option("config_smp"):
        return PLAIN
    if config.percpu.option("config_modules"):
        return BY_POINTER
    return BY_PDA if config.kernel.arch.is_64bit else BY_ARRAY


def place_areas(early: EarlyMemory) -> StaticAreas:
    """Take memory for every possible CPU's area. Raises ConfigError for a machine that cannot be."""
    config = early.config
    area_bytes = align_up(config.percpu.static_bytes, line_bytes_of(config))
    if _way(config) != PLAIN:
        return reserve_static_areas(early, area_bytes)
    if len(config.cpus.possible) > 1:
        raise ConfigError(
            f"{config.name}: [percpu.options] config_smp: false with {len(config.cpus.possible)}"
            " possible CPUs; expected one"
        )
    return StaticAreas({}, config.percpu.static_bytes, is_one_block=True)


def boot_rostedt_2006_modules(machine: Machine, placed: StaticAreas) -> RostedtModulesSystem:
    """Fill every pointer of the kernel, copy the section to every area, and set up modules' tables.

    Raises ConfigError for a section or symbols that cannot be.
    """
    config, way = machine.config, _way(machine.config)
    line_bytes, start = line_bytes_of(config), machine.symbol("__per_cpu_start")
    if start % line_bytes:
        raise ConfigError(
            f"{config.name}: [symbols] __per_cpu_start: {start:#x}; expected a multiple of"
            f" {line_bytes}, the cache line"
        )
    use_slab_of_the_day(machine, line_bytes)
    if way == PLAIN:
        placed = StaticAreas({machine.topology.possible[0]: start}, placed.area_bytes, True)
    for addr in placed.addrs.values() if way != PLAIN else ():
        copy_section(machine, start, addr)
    offset_bytes = cast("int", config.percpu.option("offset_section_bytes"))
    kernel = KernelPointers.of(machine, offset_bytes)
    if way == BY_POINTER:
        machine.module_pointer_bytes = machine.arch.word_bytes
        kernel.fill(machine)
    tables = OffsetTables(
        machine,
        line_bytes,
        overruns=cast("bool", config.percpu.option("posted_overrun")),
        is_smp=way != PLAIN,
        has_modules=cast("bool", config.percpu.option("config_modules")),
    )
    pointers = PointerArray(machine)
    system = RostedtModulesSystem(machine, way, placed, kernel, tables, pointers, line_bytes)
    if way == BY_PDA:
        offsets = {cpu: system.per_cpu_offset(cpu) for cpu in placed.addrs}
        system.pda = PdaTable.at_boot(machine, line_bytes, offsets)
    return system


ENTRY = SystemEntry(
    name="rostedt-2006-modules",
    title="an offset pointer for every variable, modules with tables of their own",
    years="2006, never merged (for 2.6.17-rc1)",
    arches=("i386", "x86-64"),
    place=place_areas,
    boot=boot_rostedt_2006_modules,
    options=(
        Option(
            "offset_section_bytes", OFFSET_SECTION_BYTES,
            "size of .data.percpu_offset: a pointer for every per-CPU variable of the kernel",
            lowest=4, highest=1 << 16,
        ),
        Option("config_smp", True, "CONFIG_SMP: without it a variable has one copy, itself"),
        Option("config_modules", True, "CONFIG_MODULES: without it the offsets are one array, as before"),
        Option("posted_overrun", False, "the posted loop, which takes bytes for a number of pointers"),
        *(option for option in LEGACY_STATIC.options if option.key == "cache_line_bytes"),
    ),
    static_bytes=LEGACY_STATIC.static_bytes,
    nr_cpus=LEGACY_STATIC.nr_cpus,
    pages=LEGACY_STATIC.pages,
)  # fmt: skip
