"""Memory for a first chunk: a block for each group, or pages one by one in vmalloc space.

    embed    group 0 | unit | unit |   …   group 1 | unit | unit |      direct map, tails given back
    page     | unit 0 | unit 1 | …                                     vmalloc space, 4 KiB entries

Source: pcpu_embed_first_chunk() and pcpu_page_first_chunk(), Linux 6.1 mm/percpu.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_sim.alignment import align_up
from kernel_sim.errors import ConfigError
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.percpu.unit_layout import AllocInfo, is_too_wide, max_distance_bytes
from kernel_sim.percpu.unit_places import UnitPlaces

if TYPE_CHECKING:
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine
    from kernel_sim.mm.page_alloc import PageAllocator


@dataclass(frozen=True, slots=True)
class UnitMemory:
    """The layout of the first chunk and where its groups lie; no group_phys: page by page.

    too_wide_bytes: how far an embedded one would have reached, if it was given up for that.
    """

    info: AllocInfo
    group_phys: tuple[int, ...]
    too_wide_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Units:
    """A machine's units: their layout, the addresses of the first chunk's groups, offsets of all chunks.

    starts: the offsets of all units, ascending.
    """

    info: AllocInfo
    group_phys: tuple[int, ...]
    group_addrs: tuple[int, ...]
    places: UnitPlaces
    starts: tuple[int, ...]

    @property
    def base_addr(self) -> int:
        """The address of the lowest group: pcpu_base_addr."""
        return min(self.group_addrs)


def place_units(early: EarlyMemory) -> UnitMemory:
    """Take memory for an embedded first chunk; returns its layout and the groups' physical addresses.

    No addresses mean: page by page, because the config says so or because the groups lie too far apart.
    Raises ConfigError where no node has room for a group.
    """
    config = early.config
    if config.percpu.first_chunk == "page":
        return UnitMemory(config.alloc_info(), ())
    return place_embedded(early, config.alloc_info(), config.alloc_info("page"))


def place_embedded(early: EarlyMemory, info: AllocInfo, by_pages: AllocInfo) -> UnitMemory:
    """Take memory for every group of a layout; by_pages is the layout if they lie too far apart.

    Raises ConfigError where no node has room for a group.
    """
    config, pages = early.config, early.pages
    addrs = config.percpu.group_phys or tuple(
        _reserve_group(early, info, group) for group in range(len(info.groups))
    )
    if config.percpu.group_phys:
        for addr, group in zip(addrs, info.groups, strict=True):
            pages.reserve_at(addr, addr + info.group_size_bytes(group))
    distance = max_distance_bytes(info, addrs)
    too_wide = is_too_wide(distance, vmalloc_total_bytes=config.vmalloc.total_bytes)
    for addr, group in zip(addrs, info.groups, strict=True):
        for unit, cpu in enumerate(group.cpu_map):
            start = addr + unit * info.unit_size_bytes
            kept = 0 if cpu is None or too_wide else info.size_sum_bytes
            if kept < info.unit_size_bytes:
                pages.release(start + kept, start + info.unit_size_bytes)
    return UnitMemory(by_pages, (), distance) if too_wide else UnitMemory(info, addrs)


def _reserve_group(early: EarlyMemory, info: AllocInfo, group: int) -> int:
    nr_bytes = info.group_size_bytes(info.groups[group])
    node = early.topology.node_of_cpu[info.groups[group].first_cpu]
    phys = early.reserve_near(node, nr_bytes=nr_bytes, align_bytes=info.atom_size_bytes)
    if phys is not None:
        return phys
    raise ConfigError(
        f"{early.config.name}: no node has {nr_bytes} free bytes in one piece for group {group} of the first"
        f" chunk; give node {node} more memory"
    )


def map_units(machine: Machine, placed: UnitMemory) -> Units:
    """Return the units of the machine's first chunk; page by page they are mapped here.

    Raises ConfigError without memory. Context: boot, tables still come from early memory.
    """
    info = placed.info
    if placed.group_phys:
        group_addrs = tuple(machine.arch.direct_map_addr + phys for phys in placed.group_phys)
    else:
        nr_pages = align_up(info.size_sum_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
        group_addrs = (map_by_pages(machine, info, nr_pages),)
    return units_at(machine, placed, group_addrs)


def units_at(machine: Machine, placed: UnitMemory, group_addrs: tuple[int, ...]) -> Units:
    """Return the units of a first chunk whose groups lie at these addresses."""
    info, topology = placed.info, machine.topology
    base_addr = min(group_addrs)
    offsets = tuple(addr - base_addr for addr in group_addrs)
    places = UnitPlaces(
        cpus=topology.possible,
        node_of_cpu=topology.node_of_cpu,
        unit_offsets=info.unit_offsets(offsets),
        group_offsets=offsets,
        group_sizes=tuple(info.group_size_bytes(group) for group in info.groups),
        atom_size_bytes=info.atom_size_bytes,
    )
    starts = tuple(sorted(places.unit_offsets[cpu] for cpu in places.cpus))
    return Units(info, placed.group_phys, group_addrs, places, starts)


def map_by_pages(machine: Machine, info: AllocInfo, nr_pages: int) -> int:
    """Build the first chunk page by page in vmalloc space, each page from its CPU's node.

    nr_pages: of each unit, from its start. Returns the address of unit 0.
    """
    base = machine.vmalloc.register_early(
        info.nr_units * info.unit_size_bytes, PAGE_SIZE_BYTES, "pcpu_page_first_chunk"
    )
    for cpu, unit in info.unit_map.items():
        node = machine.topology.node_of_cpu[cpu]
        start = base + unit * info.unit_size_bytes
        if not _map_unit(machine, node, start, nr_pages):
            raise ConfigError(f"no memory for the first chunk's {nr_pages} pages of CPU {cpu}")
    return base


def _map_unit(machine: Machine, node: int, start: int, nr_pages: int) -> bool:
    """Map pages of a node, from its top down, into a unit; False without memory.

    They are taken one by one as long as tables may come between; after two of them under the same
    table nothing else does, and the rest is the block just below.
    """
    space, pages = machine.space, machine.pages
    one_page = space.alloc_table
    table_bytes = 1 << space.mode.levels[-2].shift
    ready: list[int] = []
    nr_single = 0
    pfn: int | None = None
    for virt in range(start, start + nr_pages * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES):
        if virt % table_bytes == 0:
            nr_single = 0
        if nr_single == 2 and not ready and pfn is not None:
            end = min(start + nr_pages * PAGE_SIZE_BYTES, align_up(virt + 1, table_bytes))
            ready = _block_below(pages, pfn, (end - virt) >> PAGE_SHIFT)
        if ready:
            pfn = ready.pop()
        else:
            pfn = one_page(node, 0)
            nr_single += 1
        if pfn is None or not space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=node):
            return False
    return True


def _block_below(pages: PageAllocator, pfn: int, nr_pages: int) -> list[int]:
    """Set the pages just below one aside if all are free; returns them, the highest last."""
    first = pfn - nr_pages
    if pages.zone_of_pfn(pfn).buddy.find_not_free(first, pfn) is not None:
        return []
    pages.reserve_at(first << PAGE_SHIFT, pfn << PAGE_SHIFT)
    return list(range(first, pfn))
