"""The RFC of May 2006: all per-CPU memory in VM, at addresses that are constants.

    PERCPU_START │ copy of CPU 0 … 1 MiB │ copy of CPU 1 … 1 MiB │ …      for NR_CPUS, possible or not
                 │ S │ modules │ ·  ·  · │ no pages                       pages up to percpu_allocated

    per_cpu(v, c) = &per_cpu__v + PERCPU_START + c * PERCPU_SIZE - __per_cpu_start      no load on the way

At boot the section is copied for every c below NR_CPUS: what was posted does not look which are possible.
PERCPU_SIZE is PERCPU_ENOUGH_ROOM now, so modules' sections go where they always went (module_room.py),
and a load first extends the mapping to the end of its section. Pages are never given back, and behind
PERCPU_SIZE there is no recourse.
Source: "[RFC PATCH 00-09/09] robust VM per_cpu variables", 17 May 2006.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kernel_sim.alignment import align_up
from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.events import PercpuPopulate
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.percpu.module_room import ModuleRoom
from kernel_sim.percpu.static_areas import copy_section
from kernel_sim.percpu.stretch import (
    DATA_KINDS,
    FREE,
    HOLE,
    PADDING,
    RESERVED_ROOM,
    Stretch,
)

if TYPE_CHECKING:
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine

SPACE_CALLER = "setup_per_cpu_areas"
PAGES_CALLER = "percpu_modcopy"


@dataclass(slots=True)
class RfcAreas:
    """The copies of one machine. allocated: percpu_allocated of each possible CPU, bytes that have pages."""

    machine: Machine
    vm_start: int
    vm_bytes: int
    room: ModuleRoom
    boot_bytes: int
    allocated: dict[int, int] = field(default_factory=dict)
    changed: bool = True

    @property
    def percpu_start(self) -> int:
        """__per_cpu_start."""
        return self.room.percpu_start

    @property
    def nr_cpus(self) -> int:
        """NR_CPUS."""
        return self.machine.config.kernel.nr_cpus

    def area_of(self, cpu: int) -> int:
        """Return where a CPU's copy begins: PERCPU_START + cpu * PERCPU_SIZE."""
        return self.vm_start + cpu * self.vm_bytes

    def offset_of(self, cpu: int) -> int:
        """Return the distance from a link address to the CPU's copy: a constant expression."""
        return self.area_of(cpu) - self.percpu_start & self.machine.arch.address_mask

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where the owner's copy is; None for no such CPU or variable."""
        offset = ptr - self.percpu_start & self.machine.arch.address_mask
        if owner not in self.allocated or offset >= self.vm_bytes:
            return None
        return self.area_of(owner) + offset

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Extend every possible CPU's mapping to the end of a section; False without a page.

        What was mapped until then stays. Source: percpu_modcopy() of [RFC PATCH 05/09].
        """
        end = align_up(ptr - self.percpu_start + len(image), PAGE_SIZE_BYTES)
        for owner, at in self.allocated.items():
            while self.allocated[owner] < end:
                if not self._map_page(cpu, self.area_of(owner) + self.allocated[owner]):
                    return False
                self.allocated[owner] += PAGE_SIZE_BYTES
                self.changed = True
            if at < end:
                first, last = at >> PAGE_SHIFT, end >> PAGE_SHIFT
                self.machine.emit(cpu, PercpuPopulate(self.area_of(owner), first, last))
        return True

    def _map_page(self, cpu: int, virt: int) -> bool:
        """Back an address with a cleared page from wherever the CPU runs; False without."""
        machine, node = self.machine, self.machine.cpus[cpu].node
        pfn = machine.pages.alloc_pages(
            gfp=GFP_KERNEL, order=0, node=node, cpu=cpu, injectable=True, caller=PAGES_CALLER
        )
        if pfn is None:
            return False
        machine.memory.clear_page(pfn)
        if not machine.space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=node, cpu=cpu):
            machine.pages.free_pages(pfn, 0, cpu)
            return False
        return True

    # -- looking -----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield every CPU's copy with the modules' room behind it, and the array of block sizes."""
        for cpu in range(self.nr_cpus):
            if cpu in self.allocated:
                strip = f"copy of cpu {cpu}"
                area = Stretch(strip, self.area_of(cpu), self.vm_bytes, "", "", cpu)
                yield from self._mapped_or_not(area)
            else:
                yield from self._copy_for_nobody(cpu)
        yield from self.room.array_stretches()

    def _mapped_or_not(self, area: Stretch) -> Iterator[Stretch]:
        """Yield an area cut as the room is, what no data is in also where its pages end."""
        mapped_end = area.addr + self.allocated[area.cpu]
        for piece in self.room.area_stretches(area):
            stretch = replace(piece, owns_pages=True)
            if stretch.kind in DATA_KINDS:
                yield stretch
                continue
            if stretch.kind == RESERVED_ROOM:
                stretch = replace(stretch, kind=FREE, what="free")
            cut = min(max(stretch.addr, mapped_end), stretch.end)
            if cut > stretch.addr:
                yield replace(stretch, size_bytes=cut - stretch.addr)
            if cut < stretch.end:
                yield replace(
                    stretch, addr=cut, size_bytes=stretch.end - cut, kind=HOLE, what="no pages yet"
                )

    def _copy_for_nobody(self, cpu: int) -> Iterator[Stretch]:
        strip, addr = f"copy of cpu {cpu}", self.area_of(cpu)
        pieces = (
            (
                self.room.static_bytes,
                RESERVED_ROOM,
                f"static variables of cpu {cpu}, which cannot be",
            ),
            (self.boot_bytes, PADDING, "rest of the page"),
            (self.vm_bytes, HOLE, "no pages"),
        )
        at = 0
        for end, kind, what in pieces:
            if end > at:
                yield Stretch(strip, addr + at, end - at, kind, what, owns_pages=True)
            at = end

    def check(self) -> None:
        """Raise InvariantBroken unless the room is sound and every copy has its pages and no more."""
        self.room.check()
        possible = self.machine.topology.possible
        if tuple(self.allocated) != possible:
            raise InvariantBroken(f"percpu_allocated of CPUs {list(self.allocated)}")
        for cpu, nr_bytes in self.allocated.items():
            if nr_bytes % PAGE_SIZE_BYTES or not self.boot_bytes <= nr_bytes <= self.vm_bytes:
                raise InvariantBroken(f"cpu {cpu}: percpu_allocated is {nr_bytes}")


def place_rfc(early: EarlyMemory, static_bytes: int) -> int:
    """Take the pages of NR_CPUS copies; their physical address. Raises ConfigError where they are not."""
    config, topology = early.config, early.topology
    nr_bytes = config.kernel.nr_cpus * align_up(static_bytes, PAGE_SIZE_BYTES)
    node = topology.node_of_cpu[topology.possible[0]]
    phys = early.reserve_near(node, nr_bytes=nr_bytes, align_bytes=PAGE_SIZE_BYTES)
    if phys is None:
        raise ConfigError(
            f"{config.name}: no node has {nr_bytes} free bytes for the per-CPU copies of"
            f" {config.kernel.nr_cpus} CPUs, all of NR_CPUS; give node {node} more memory"
        )
    return phys


def boot_rfc(machine: Machine, phys: int, *, vm_bytes: int, line_bytes: int) -> RfcAreas:
    """Map the copies of NR_CPUS and fill them. Raises ConfigError without addresses or memory for tables."""
    config, start = machine.config, machine.symbol("__per_cpu_start")
    nr_cpus = config.kernel.nr_cpus
    boot_bytes = align_up(config.percpu.static_bytes, PAGE_SIZE_BYTES)
    found = machine.vmalloc.get_vm_areas((0,), (nr_cpus * vm_bytes,), PAGE_SIZE_BYTES, SPACE_CALLER)
    if found is None:
        raise ConfigError(
            f"{config.name}: [kernel] nr_cpus: {nr_cpus} copies of {vm_bytes} bytes of address space;"
            f" expected no more than vmalloc space has, {config.vmalloc.total_bytes + 1} bytes"
        )
    room = ModuleRoom.at_boot(
        machine, percpu_start=start, room_bytes=vm_bytes, line_bytes=line_bytes
    )
    areas = RfcAreas(machine, found[0], vm_bytes, room, boot_bytes)
    node = machine.topology.node_of_cpu[machine.topology.possible[0]]
    for cpu in range(nr_cpus):
        area = areas.area_of(cpu)
        for at in range(0, boot_bytes, PAGE_SIZE_BYTES):
            pfn = phys + cpu * boot_bytes + at >> PAGE_SHIFT
            if not machine.space.map_page(virt=area + at, pfn=pfn, flags=PAGE_KERNEL, node=node):
                raise ConfigError(f"{config.name}: no memory for the tables of per-CPU copies")
        copy_section(machine, start, area)
    areas.allocated = dict.fromkeys(machine.topology.possible, boot_bytes)
    return areas
