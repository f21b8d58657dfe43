"""`rostedt-2006-vm`: per-CPU variables in virtual memory, as posted (rfc) and as thought over (hybrid).

    hybrid   areas of boot CPUs in the direct map, modules and CPUs that come later in VM (vm_hybrid.py);
             __per_cpu_offset[c], then the datum: 2 references, or 1 with the offset in a register
    rfc      everything in VM, at constant addresses (vm_rfc.py): 1 reference, and a 4 KiB TLB entry

The mail leaves it open whether an array or a CPU-private register holds the offset: access. On i386 only, as
posted. Dynamic areas are pointer arrays, as they were.
Source: "[RFC PATCH 00-09/09] robust VM per_cpu variables", 17 May 2006, and its answer of 18 May 2006.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from kernel_sim.component import from_plain
from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.percpu.boot_log import BootLine
from kernel_sim.percpu.module_room import RoomState
from kernel_sim.percpu.module_window import ModuleWindow
from kernel_sim.percpu.one_part import PART, differing_part, dump_one_part, unnoticed_in_one_part
from kernel_sim.percpu.options import Option
from kernel_sim.percpu.owned_page import OwnedPage, pages_of_stretches
from kernel_sim.percpu.pointer_array import PointerArea, PointerArray
from kernel_sim.percpu.protocol import IntPath, Load, Parts, Path
from kernel_sim.percpu.static_areas import line_bytes_of, use_slab_of_the_day
from kernel_sim.percpu.stretch import HOLE, TABLE, Stretch
from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.percpu.systems.legacy_static import ENTRY as LEGACY_STATIC
from kernel_sim.percpu.vm_hybrid import HybridAreas
from kernel_sim.percpu.vm_hybrid_boot import boot_hybrid, boot_lines, place_hybrid
from kernel_sim.percpu.vm_rfc import RfcAreas, boot_rfc, place_rfc
from kernel_sim.primitives import Lock

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine

VARIANTS = ("hybrid", "rfc")
ACCESSES = ("array", "register")
PERCPU_SIZE_BYTES = 1 << 20


@dataclass(slots=True)
class HybridState:
    """All that lasts of the hybrid; hot: CPU: its area, of those that came after boot."""

    window: ModuleWindow
    hot: dict[int, int]
    areas: dict[int, PointerArea]


@dataclass(slots=True)
class RfcState:
    """All that lasts of the RFC; allocated: CPU: bytes that have pages."""

    room: RoomState
    allocated: dict[int, int]
    areas: dict[int, PointerArea]


@dataclass(slots=True)
class RostedtVmSystem:
    """Areas of one of the variants, and pointer arrays, on one machine."""

    machine: Machine
    vm: HybridAreas | RfcAreas
    pointers: PointerArray
    static_bytes: int
    module_align_max: int
    uses_register: bool = False
    name: str = "rostedt-2006-vm"
    work_function: str = ""
    zeroes: bool = True
    keeps_alignment: bool = False
    locks: tuple[Lock, ...] = ()

    @property
    def percpu_start(self) -> int:
        """__per_cpu_start: the link address of the section's first byte."""
        return self.vm.percpu_start

    def boot_lines(self) -> tuple[BootLine, ...]:
        """Return a line where CPUs that may come cannot; the RFC printed nothing."""
        return boot_lines(self.vm) if isinstance(self.vm, HybridAreas) else ()

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
        if isinstance(self.vm, HybridAreas):
            return self.vm.percpu_modalloc(cpu, name, size, align)
        return self.vm.room.percpu_modalloc(cpu, name, size, align)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Keep the image for CPUs to come, or extend the mappings to its end; False without memory."""
        return self.vm.take_image(cpu, ptr, image)

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Return the path of percpu_modfree()."""
        if isinstance(self.vm, HybridAreas):
            return self.vm.percpu_modfree(cpu, ptr)
        return self.vm.room.percpu_modfree(cpu, ptr)

    def work_path(self, cpu: int) -> Path:
        """There is none."""
        raise KernelBug(f"cpu {cpu}: {self.name} has no background work")

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Give a CPU its area if it has none; 0 or -ENOMEM. The RFC has copies for all from the start."""
        if isinstance(self.vm, RfcAreas):
            return 0
        result = self.vm.cpu_prepare(cpu, coming)
        self.machine.cpus[coming].gs_base = self.base_of(coming)
        return result

    def cpu_dead(self, cpu: int, gone: int) -> None:
        """Nothing to do: a CPU that returns finds its variables as it left them."""

    # -- how a copy is reached ---------------------------------------------------------------------

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """Add the register where the offset is in one: no reference; else as for another CPU."""
        if not self.uses_register or self.pointers.is_disguised(ptr):
            return self.per_cpu(load, cpu, ptr, cpu)
        return self.machine.cpus[cpu].gs_base + ptr & self.machine.arch.address_mask

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Load the owner's offset: one reference; in the RFC it is a constant, and nothing is loaded."""
        arch = self.machine.arch
        if self.pointers.is_disguised(ptr):
            return self.pointers.per_cpu(load, cpu, ptr, owner)
        if isinstance(self.vm, RfcAreas):
            return self.vm.offset_of(owner) + ptr & arch.address_mask
        entry = self.machine.symbol("__per_cpu_offset") + arch.word_bytes * owner
        return load(entry, arch.word_bytes) + ptr & arch.address_mask

    def holds(self, ptr: int) -> bool:
        """Say whether a dynamic area or a module's section has this ptr."""
        if self.pointers.is_disguised(ptr):
            return self.pointers.holds(ptr)
        if isinstance(self.vm, HybridAreas):
            return self.vm.section_at(ptr) is not None
        return self.vm.room.section_at(ptr) is not None

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's copy is; of a CPU that never ran the hybrid has none."""
        if self.pointers.is_disguised(ptr):
            return self.pointers.copy_addr(ptr, owner)
        return self.vm.copy_addr(ptr, owner)

    def per_cpu_offset(self, cpu: int) -> int:
        """The distance from a link address to the CPU's copy; 0 for a CPU without one."""
        return self.vm.offset_of(cpu)

    def base_of(self, cpu: int) -> int:
        """The same offset where a register holds it."""
        return self.per_cpu_offset(cpu) if self.uses_register else 0

    def note_written(self, cpu: int, addr: int) -> None:
        """Nobody keeps track of what was written."""

    # -- looking -----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield the table of offsets if there is one, the variant's areas, dynamic areas."""
        machine = self.machine
        if isinstance(self.vm, HybridAreas):
            nr_cpus = machine.config.kernel.nr_cpus
            yield Stretch(
                "kernel image", machine.symbol("__per_cpu_offset"),
                nr_cpus * machine.arch.word_bytes, TABLE, f"__per_cpu_offset[{nr_cpus}]",
            )  # fmt: skip
        yield from self.vm.stretches()
        yield from self.pointers.stretches()

    def metadata_bytes(self) -> int:
        """What struct module and the RFC's room have beside simulated memory: a pointer or two each."""
        word_bytes = self.machine.arch.word_bytes
        if isinstance(self.vm, HybridAreas):
            return 2 * word_bytes * len(self.vm.window.sections)
        return 2 * 4 + word_bytes

    def owned_pages(self) -> Iterator[OwnedPage]:
        """Yield the pages that VM maps; the hybrid's boot areas are boot memory in the direct map."""
        return pages_of_stretches(self.vm.stretches(), self.machine.space.translate)

    def nr_pages(self) -> int:
        """The pages of all copies; dynamic areas count as slab."""
        vm = self.vm
        if isinstance(vm, HybridAreas):
            in_windows = vm.window.populated.bit_count()
            return ((vm.area_bytes >> PAGE_SHIFT) + in_windows) * len(vm.cpus)
        for_nobody = vm.nr_cpus - len(vm.allocated)
        return sum(vm.allocated.values()) + for_nobody * vm.boot_bytes >> PAGE_SHIFT

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes as asked) of every dynamic area."""
        return self.pointers.live_areas()

    def facts(self) -> list[tuple[str, object]]:
        """Return its figures by name."""
        vm = self.vm
        if isinstance(vm, RfcAreas):
            return [
                ("variant", "rfc"),
                ("percpu_vm_start", f"{vm.vm_start:#x}"),
                ("percpu_size_bytes", vm.vm_bytes),
                ("percpu_allocated_bytes", max(vm.allocated.values())),
                ("module_sections", len(vm.room.state.sections)),
                *self.pointers.facts(),
            ]
        slack_free, window_free = vm.window.free_bytes
        return [
            ("variant", "hybrid"),
            ("area_bytes", vm.area_bytes),
            ("slack_bytes", vm.window.slack_bytes),
            ("slack_free_bytes", slack_free),
            ("window_bytes", vm.area_bytes),
            ("window_free_bytes", window_free),
            ("distance", f"{vm.distance_bytes:#x}"),
            ("hot_added_cpus", len(vm.hot)),
            ("module_sections", len(vm.window.sections)),
            *self.pointers.facts(),
        ]

    def check(self, is_idle: bool) -> None:
        """Check areas, sections and images of the variant, the room's blocks when idle, dynamic areas."""
        if is_idle or isinstance(self.vm, HybridAreas):
            self.vm.check()
        self.pointers.check()

    def check_loaded(self) -> None:
        """Check that a loaded state can be this machine's, and that every page is where it should be."""
        if isinstance(self.vm, RfcAreas):
            slots = self.vm.room.state.slots
            if slots.line_bytes != self.module_align_max or slots.word_bytes != 4:
                raise InvariantBroken("module slots of another cache line or word")
        self.check(is_idle=True)
        for stretch in self.vm.stretches():
            backed = stretch.owns_pages and stretch.kind != HOLE and stretch.size_bytes
            if backed and self.machine.space.translate(stretch.addr) is None:
                raise InvariantBroken(f"{stretch.strip}: {stretch.addr:#x} is not mapped")

    # -- state -------------------------------------------------------------------------------------

    def dump(self, cache: Mapping[str, object]) -> Parts:
        """Return the whole state as one part, the one in cache if nothing changed."""
        parts = dump_one_part(self._state, cache, is_changed=self._is_changed)
        self._note_changed(False)
        return parts

    def load(self, parts: Mapping[str, object], cache: Mapping[str, object]) -> None:
        """Take over a dumped state, and let registers hold the offsets that are."""
        part = differing_part(parts, cache, self.name, is_changed=self._is_changed)
        if part is None:
            return
        if isinstance(self.vm, HybridAreas):
            hybrid = from_plain(HybridState, part, PART)
            self.vm.window, self.vm.hot = hybrid.window, hybrid.hot
            self.pointers.areas = hybrid.areas
        else:
            rfc = from_plain(RfcState, part, PART)
            self.vm.room.state, self.vm.allocated = rfc.room, rfc.allocated
            self.pointers.areas = rfc.areas
        for number, cpu in self.machine.cpus.items():
            cpu.gs_base = self.base_of(number)
        self._note_changed(False)

    def unnoticed_change(self, cache: Mapping[str, object]) -> str:
        """Return "system" if it changed without saying so."""
        return unnoticed_in_one_part(self._state, cache, is_changed=self._is_changed)

    def _state(self) -> HybridState | RfcState:
        if isinstance(self.vm, HybridAreas):
            return HybridState(self.vm.window, self.vm.hot, self.pointers.areas)
        return RfcState(self.vm.room.state, self.vm.allocated, self.pointers.areas)

    @property
    def _is_changed(self) -> bool:
        in_room = isinstance(self.vm, RfcAreas) and self.vm.room.changed
        return self.vm.changed or self.pointers.changed or in_room

    def _note_changed(self, changed: bool) -> None:
        self.vm.changed = self.pointers.changed = changed
        if isinstance(self.vm, RfcAreas):
            self.vm.room.changed = changed


# -- boot ------------------------------------------------------------------------------------------


def _percpu_size_bytes(config: MachineConfig) -> int:
    """Return PERCPU_SIZE of the RFC. Raises ConfigError for what cannot be."""
    size_bytes = cast("int", config.percpu.option("percpu_size_bytes"))
    if size_bytes % PAGE_SIZE_BYTES or size_bytes < config.percpu.static_bytes:
        raise ConfigError(
            f"{config.name}: [percpu.options] percpu_size_bytes: {size_bytes}; expected whole pages for"
            f" {config.percpu.static_bytes} static bytes or more"
        )
    return size_bytes


def place_rostedt_2006_vm(early: EarlyMemory) -> int:
    """Take memory for the copies that stand at boot. Raises ConfigError for a machine that cannot be."""
    config = early.config
    line_bytes_of(config)
    is_rfc = config.percpu.option("variant") == "rfc"
    for key, is_other, default in (
        ("access", is_rfc, ACCESSES[0]),
        ("percpu_size_bytes", not is_rfc, PERCPU_SIZE_BYTES),
    ):
        if is_other and config.percpu.option(key) != default:
            variant = config.percpu.option("variant")
            raise ConfigError(
                f"{config.name}: [percpu.options] {key}: not for variant {variant!r}; expected no such key"
            )
    if not is_rfc:
        return place_hybrid(early)
    _percpu_size_bytes(config)
    return place_rfc(early, config.percpu.static_bytes)


def boot_rostedt_2006_vm(machine: Machine, phys: int) -> RostedtVmSystem:
    """Set up one of the variants. Raises ConfigError where it has no room."""
    config, line_bytes = machine.config, line_bytes_of(machine.config)
    start = machine.symbol("__per_cpu_start")
    if start % line_bytes:
        raise ConfigError(
            f"{config.name}: [symbols] __per_cpu_start: {start:#x}; expected a multiple of"
            f" {line_bytes}, the cache line"
        )
    use_slab_of_the_day(machine, line_bytes)
    vm: HybridAreas | RfcAreas
    if config.percpu.option("variant") == "rfc":
        size_bytes = _percpu_size_bytes(config)
        vm = boot_rfc(machine, phys, vm_bytes=size_bytes, line_bytes=line_bytes)
    else:
        vm = boot_hybrid(machine, phys)
    return RostedtVmSystem(
        machine,
        vm,
        PointerArray(machine),
        config.percpu.static_bytes,
        line_bytes,
        uses_register=config.percpu.option("access") == "register",
    )


ENTRY = SystemEntry(
    name="rostedt-2006-vm",
    title="page-aligned areas at boot, modules and CPUs that come later in VM",
    years="2006, never merged (for 2.6.16)",
    arches=("i386",),
    place=place_rostedt_2006_vm,
    boot=boot_rostedt_2006_vm,
    options=(
        Option("variant", "hybrid", "hybrid: the mail of 18 May; rfc: what was posted on 17 May", VARIANTS),
        Option("access", "array", "hybrid: where a CPU has its own offset", ACCESSES),
        Option(
            "percpu_size_bytes", PERCPU_SIZE_BYTES, "rfc: PERCPU_SIZE, address space of one CPU",
            lowest=PAGE_SIZE_BYTES, highest=1 << 26,
        ),
        *(option for option in LEGACY_STATIC.options if option.key == "cache_line_bytes"),
    ),
    static_bytes=LEGACY_STATIC.static_bytes,
    nr_cpus=LEGACY_STATIC.nr_cpus,
    pages=LEGACY_STATIC.pages,
    vmalloc_follows_memory=True,
)  # fmt: skip
