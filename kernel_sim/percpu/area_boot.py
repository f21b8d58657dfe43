"""Memory for the first chunk of an allocator with area maps, and its units.

    place_area(early, plan)     blocks set aside, ends that units do not need given back
    map_area(machine, placed)   what is not in the direct map is mapped into vmalloc space

With large pages the ends given back stay mapped: from the direct map and from vmalloc space. That
aliasing is why 2.6.32 has no such first chunk any more.
Source: pcpu_embed_first_chunk(), pcpu_page_first_chunk(), Linux 2.6.34; pcpu_lpage_first_chunk(), 2.6.31;
setup_pcpu_remap(), 2.6.30.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kernel_sim.alignment import align_up
from kernel_sim.errors import ConfigError
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.percpu.area_plan import EMBED, LPAGE, STATIC, AreaPlan
from kernel_sim.percpu.unit_boot import UnitMemory, Units, map_by_pages, place_embedded, units_at

if TYPE_CHECKING:
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine

LPAGE_CALLER: Final = "pcpu_lpage_first_chunk"


@dataclass(frozen=True, slots=True)
class AreaPlaced:
    """The plan as it came out, physical addresses of groups (embed) or of large pages (lpage).

    too_wide_bytes: how far an embedded first chunk would have reached, if it was given up for that.
    """

    plan: AreaPlan
    group_phys: tuple[int, ...] = ()
    lpage_phys: tuple[int, ...] = ()
    too_wide_bytes: int = 0


def place_area(early: EarlyMemory, plan: AreaPlan) -> AreaPlaced:
    """Set memory of the first chunk aside. Raises ConfigError where no node has room."""
    if plan.how == EMBED:
        memory = place_embedded(early, plan.info, plan.by_pages)
        if not memory.group_phys:
            return AreaPlaced(plan.paged(), too_wide_bytes=memory.too_wide_bytes)
        return AreaPlaced(plan, memory.group_phys)
    if plan.how == LPAGE:
        return AreaPlaced(plan, lpage_phys=_reserve_lpages(early, plan))
    return AreaPlaced(plan)


def _reserve_lpages(early: EarlyMemory, plan: AreaPlan) -> tuple[int, ...]:
    """Set large pages aside, on the node of the first CPU in each, and give back what units leave of them."""
    info, lpage_bytes = plan.info, 1 << plan.large_shift
    cpus = [cpu for group in info.groups for cpu in group.cpu_map]
    found: list[int] = []
    for number in range(info.nr_units * info.unit_size_bytes // lpage_bytes):
        first = number * lpage_bytes // info.unit_size_bytes
        end = -(-(number + 1) * lpage_bytes // info.unit_size_bytes)
        owner = next((cpu for cpu in cpus[first:end] if cpu is not None), None)
        if owner is None:
            found.append(-1)
            continue
        node = early.topology.node_of_cpu[owner]
        phys = early.reserve_near(node, nr_bytes=lpage_bytes, align_bytes=lpage_bytes)
        if phys is None:
            raise ConfigError(
                f"{early.config.name}: no large page for cpu {owner}; give node {node} more memory"
            )
        found.append(phys)
    for unit, cpu in enumerate(cpus):
        start = unit * info.unit_size_bytes
        unused = start + (0 if cpu is None else align_up(info.size_sum_bytes, PAGE_SIZE_BYTES))
        for at, end in _pieces(unused, start + info.unit_size_bytes, lpage_bytes):
            phys = found[at // lpage_bytes]
            if phys >= 0:
                early.pages.release(phys + at % lpage_bytes, phys + (end - 1) % lpage_bytes + 1)
    return tuple(found)


def _pieces(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield a range in pieces that cross no multiple of size."""
    while start < end:
        stop = min((start // size + 1) * size, end)
        yield start, stop
        start = stop


def map_area(machine: Machine, placed: AreaPlaced) -> Units:
    """Return the units of the first chunk, mapping what is not in the direct map. Raises ConfigError.

    Context: boot, tables still come from early memory.
    """
    plan, info = placed.plan, placed.plan.info
    memory = UnitMemory(info, placed.group_phys)
    if placed.group_phys:
        addrs = tuple(machine.arch.direct_map_addr + phys for phys in placed.group_phys)
        return _as_later_chunks(units_at(machine, memory, addrs), plan)
    if placed.lpage_phys:
        base = _map_lpages(machine, placed)
    else:
        nr_bytes = info.static_size_bytes if plan.how == STATIC else info.unit_size_bytes
        nr_pages = align_up(nr_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
        base = map_by_pages(machine, info, nr_pages)
    addrs = tuple(base + group.base_offset_bytes for group in info.groups)
    return _as_later_chunks(units_at(machine, memory, addrs), plan)


def _as_later_chunks(units: Units, plan: AreaPlan) -> Units:
    """Return units whose later chunks are one area, where the stage knows no groups."""
    if plan.choices.stage.has_groups:
        return units
    total = units.info.nr_units * units.info.unit_size_bytes
    places = replace(units.places, group_offsets=(0,), group_sizes=(total,))
    return replace(units, places=places)


def _map_lpages(machine: Machine, placed: AreaPlaced) -> int:
    """Map the large pages one after the other; returns the address of unit 0."""
    info, shift = placed.plan.info, placed.plan.large_shift
    total = info.nr_units * info.unit_size_bytes
    base = machine.vmalloc.register_early(total, 1 << shift, LPAGE_CALLER)
    for number, phys in enumerate(placed.lpage_phys):
        virt = base + (number << shift)
        if phys >= 0 and not machine.space.map_large(
            virt=virt, pfn=phys >> PAGE_SHIFT, shift=shift, flags=PAGE_KERNEL, node=0
        ):
            raise ConfigError(f"no memory for the tables of large page {number}")
    return base
