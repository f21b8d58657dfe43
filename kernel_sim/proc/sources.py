"""Where the kernel's files get what they print: the one place that knows how the machine's parts say it.

    zoneinfo ◄── watermarks, per-CPU lists, counters     vmallocinfo ◄── areas, in use and lazily freed
    meminfo  ◄── managed, slab and table pages           modules     ◄── the loader's table
    iomem    ◄── the memory map: the firmware's, or what the nodes amount to

A machine without a part (page lists under the "plain" profile, a module loader) has zeros there, or
no rows.
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_lists import HOT
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.mm.vmalloc import VmallocSpace, VmArea
from kernel_sim.mm.zone import NUMA_COUNTERS, Zone
from kernel_sim.modules.module import COMING, GOING, LIVE

SYSTEM_RAM = "System RAM"
ZONES_64 = ("DMA", "DMA32", "Normal", "Movable", "Device")
ZONES_32 = ("DMA", "Normal", "HighMem", "Movable")
BOOT_BATCH = 1  # of a list that was not set up yet
STATE_WORDS = {LIVE: "Live", COMING: "Loading", GOING: "Unloading"}
PERMANENT = "[permanent]"  # stands for a user that never lets go


class Watermarks(NamedTuple):
    """Pages of a zone below which the allocator becomes careful."""

    min: int
    low: int
    high: int


class PageList(NamedTuple):
    """A CPU's own list of single pages of a zone, and what bounds it."""

    nr_pages: int
    high: int
    batch: int


class LoadedModule(NamedTuple):
    """A module as /proc/modules tells of it; size_bytes is core and, if still there, init."""

    name: str
    size_bytes: int
    nr_references: int
    used_by: tuple[str, ...]
    state: str
    core_addr: int


def zone_names(machine: Machine) -> tuple[str, ...]:
    """Return the names of all zones that the build has, low ones first."""
    return ZONES_64 if machine.config.kernel.arch.is_64bit else ZONES_32


def online_cpus(machine: Machine) -> tuple[int, ...]:
    """Return the CPUs that run, ascending."""
    return tuple(cpu.number for cpu in machine.cpus.values() if cpu.online)


def online_nodes(machine: Machine) -> tuple[int, ...]:
    """Return the nodes that the kernel knows of now, ascending."""
    return tuple(node for node in machine.topology.nodes if node not in machine.offline_nodes)


def zone_watermarks(machine: Machine, zone: Zone) -> Watermarks:
    """Return a zone's watermarks, zeros if the machine has none."""
    marks = machine.pages.marks_of(zone)
    return Watermarks(marks.min_pages, marks.low_pages, marks.high_pages)


def zone_protection(machine: Machine, zone: Zone) -> tuple[int, ...]:
    """Return the pages kept back from requests for each higher zone; one number for every zone.

    Zones that have no memory of their own add nothing to the one below.
    """
    values = machine.pages.marks_of(zone).protection
    nr_zones = len(zone_names(machine))
    return (values + values[-1:] * nr_zones)[:nr_zones]


def page_list(machine: Machine, zone: Zone, cpu: int) -> PageList:
    """Return a CPU's page list of a zone, the hot one of two; empty if the machine has no lists."""
    sizes = machine.pages.list_sizes_of(zone)
    if zone.lists is None or not sizes:
        return PageList(0, 0, BOOT_BATCH)
    return PageList(zone.lists.count(cpu), sizes[HOT].high_pages, sizes[HOT].batch_pages)


def numa_counters(zone: Zone) -> dict[str, int]:
    """Return the numa_ counters of a zone by name."""
    return dict(zip(NUMA_COUNTERS, zone.numa, strict=True))


def vmalloc_areas(machine: Machine) -> tuple[tuple[VmArea, ...], tuple[VmArea, ...]]:
    """Return the areas in use and those that wait for the purge, both by address.

    The module space is part of both.
    """
    spaces: list[VmallocSpace] = [machine.vmalloc]
    if machine.module_space is not machine.vmalloc:
        spaces.append(machine.module_space)
    in_use: list[VmArea] = []
    lazy: list[VmArea] = []
    for space in spaces:
        for area in space.areas:
            (lazy if area.start in space.lazy else in_use).append(area)
    in_use.sort(key=lambda area: area.start)
    lazy.sort(key=lambda area: area.start)
    return tuple(in_use), tuple(lazy)


def loaded_modules(machine: Machine) -> tuple[LoadedModule, ...]:
    """Return the modules that are past their forming; the youngest first, users likewise."""
    rows: list[LoadedModule] = []
    for module in machine.modules.modules:
        if module.state in STATE_WORDS:
            users = (*reversed(list(module.used_by)),)
            if module.has_init and not module.has_exit:
                users = (*users, PERMANENT)
            rows.append(
                LoadedModule(
                    module.name,
                    module.size_bytes,
                    module.use_count,
                    users,
                    STATE_WORDS[module.state],
                    module.core_addr,
                )
            )
    return tuple(rows)


def memory_map(machine: Machine) -> tuple[tuple[PhysRange, str], ...]:
    """Return what lies where, ascending: the firmware's map, or the nodes' memory as System RAM."""
    found = machine.config.memory.map
    return found or tuple((each, SYSTEM_RAM) for each in joined_memory(machine))


def joined_memory(machine: Machine) -> tuple[PhysRange, ...]:
    """Return the memory of all nodes, ascending, ranges that touch joined."""
    joined: list[PhysRange] = []
    for each in sorted(memory for node in machine.config.nodes for memory in node.memory):
        if joined and joined[-1].last + 1 == each.start:
            joined[-1] = PhysRange(joined[-1].start, each.last)
        else:
            joined.append(each)
    return tuple(joined)


def nr_slab_pages(machine: Machine, node: int | None = None) -> int:
    """Return the pages of slabs, of one node or of all."""
    pages = machine.pages
    return sum(
        1 << order
        for pfn, order in machine.slab.owned_pages()
        if node is None or pages.node_of_pfn(pfn) == node
    )


def nr_table_pages(machine: Machine, node: int | None = None) -> int:
    """Return the pages of page tables, of one node or of all."""
    pfns = machine.space.table_pfns
    if node is None:
        return len(pfns)
    return sum(1 for pfn in pfns if machine.pages.node_of_pfn(pfn) == node)


def nr_percpu_pages(machine: Machine) -> int:
    """Return the pages behind all per-CPU copies. Source: pcpu_nr_pages(), Linux 6.1."""
    return machine.system.nr_pages()


def direct_map_bytes(machine: Machine) -> dict[int, int]:
    """Return how much of the direct map is mapped by pages of each size in bytes."""
    arch = machine.config.kernel.arch
    end_phys = max(zone.buddy.end_pfn for zone in machine.pages.zones) << PAGE_SHIFT
    end = arch.direct_map_addr + min(end_phys, arch.direct_map_bytes_max)
    counts = machine.space.count_leaves(arch.direct_map_addr, end)
    return {1 << shift: nr_pages << shift for shift, nr_pages in counts.items()}
