"""/proc/zoneinfo: every zone of every node, with all its counters.

    Node 0, zone      DMA
      per-node stats                 only at a node's first zone that has memory
          nr_inactive_anon 32
      pages free     3776
            min      131             … watermarks, sizes, protection
          nr_free_pages 3776         the zone's counters: a zone without memory ends before them
      pagesets
        cpu: 0
                  count: 0           the CPU's own list of pages
      vm stats threshold: 6
      node_unreclaimable:  0
      start_pfn:           1

The simulated machine has no processes and no page cache: those counters are 0.
Source: mm/vmstat.c, Linux 6.1: zoneinfo_show_print(), calculate_normal_threshold().
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.zone import Zone
from kernel_sim.proc.figures import Figure, Figures
from kernel_sim.proc.sources import (
    nr_slab_pages,
    nr_table_pages,
    numa_counters,
    online_cpus,
    online_nodes,
    page_list,
    zone_names,
    zone_protection,
    zone_watermarks,
)

FREE = "free"
PRESENT = "present"
NODE_COUNTERS = (
    "nr_inactive_anon", "nr_active_anon", "nr_inactive_file", "nr_active_file", "nr_unevictable",
    "nr_slab_reclaimable", "nr_slab_unreclaimable", "nr_isolated_anon", "nr_isolated_file",
    "workingset_nodes", "workingset_refault_anon", "workingset_refault_file",
    "workingset_activate_anon", "workingset_activate_file", "workingset_restore_anon",
    "workingset_restore_file", "workingset_nodereclaim", "nr_anon_pages", "nr_mapped",
    "nr_file_pages", "nr_dirty", "nr_writeback", "nr_writeback_temp", "nr_shmem",
    "nr_shmem_hugepages", "nr_shmem_pmdmapped", "nr_file_hugepages", "nr_file_pmdmapped",
    "nr_anon_transparent_hugepages", "nr_vmscan_write", "nr_vmscan_immediate_reclaim",
    "nr_dirtied", "nr_written", "nr_throttled_written", "nr_kernel_misc_reclaimable",
    "nr_foll_pin_acquired", "nr_foll_pin_released", "nr_kernel_stack", "nr_page_table_pages",
    "nr_sec_page_table_pages", "nr_iommu_pages", "nr_swapcached", "pgpromote_success",
    "pgpromote_candidate", "pgdemote_kswapd", "pgdemote_direct", "pgdemote_khugepaged",
)  # fmt: skip
ZONE_COUNTERS = (
    "nr_free_pages", "nr_zone_inactive_anon", "nr_zone_active_anon", "nr_zone_inactive_file",
    "nr_zone_active_file", "nr_zone_unevictable", "nr_zone_write_pending", "nr_mlock", "nr_bounce",
    "nr_zspages", "nr_free_cma", "nr_unaccepted", "numa_hit", "numa_miss", "numa_foreign",
    "numa_interleave", "numa_local", "numa_other",
)  # fmt: skip
SIZES = ("free", "boost", "min", "low", "high", "promo", "spanned", "present", "managed", "cma")
NOT_IN_6_1 = (
    "nr_iommu_pages", "pgdemote_kswapd", "pgdemote_direct", "pgdemote_khugepaged", "nr_unaccepted",
    "promo",
)  # fmt: skip
THRESHOLD_MAX = 125
THRESHOLD_UNIT_SHIFT = 27  # a CPU's counters may drift further for every doubling of 128 MiB


class Pageset(NamedTuple):
    """A CPU's list of pages in a zone, and how far its counters may drift."""

    cpu: int
    nr_pages: int
    high: int
    batch: int
    threshold: int


class ZonePopulation(NamedTuple):
    """What only a zone with memory shows."""

    counters: Figures
    pagesets: tuple[Pageset, ...]
    node_unreclaimable: int
    start_pfn: int


class ZoneRow(NamedTuple):
    """One zone; sizes are pages. node_counters is empty but at the node's first populated zone."""

    node: int
    zone: str
    node_counters: Figures
    sizes: Figures
    protection: tuple[int, ...]
    population: ZonePopulation | None


def zoneinfo_rows(machine: Machine) -> tuple[ZoneRow, ...]:
    """Return a row for every zone of the build on every node, with memory or without."""
    return tuple(each_zone_row(machine))


def each_zone_row(machine: Machine) -> Iterator[ZoneRow]:
    """Yield the rows one by one: each has as many parts as there are CPUs."""
    for node in online_nodes(machine):
        zones = {
            zone.name: zone for zone in machine.pages.zones_of(node) if zone.buddy.nr_present_pages
        }
        first = next(iter(zones), None)
        for name in zone_names(machine):
            zone = zones.get(name)
            if zone is None:
                yield _empty_row(machine, node, name)
                continue
            counters = _node_counters(machine, node) if name == first else ()
            yield ZoneRow(
                node,
                name,
                counters,
                _sizes(machine, zone),
                zone_protection(machine, zone),
                _population(machine, zone),
            )


def _shown(machine: Machine, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that this machine's kernel prints."""
    old = machine.config.kernel.version == "6.1"
    numa = machine.config.kernel.arch.is_64bit
    return tuple(
        name
        for name in names
        if not (old and name in NOT_IN_6_1) and (numa or not name.startswith("numa_"))
    )


def _filled(machine: Machine, names: tuple[str, ...], values: dict[str, int]) -> Figures:
    return tuple(Figure(name, values.get(name, 0)) for name in _shown(machine, names))


def _empty_row(machine: Machine, node: int, name: str) -> ZoneRow:
    nothing = (0,) * len(zone_names(machine))
    return ZoneRow(node, name, (), _filled(machine, SIZES, {}), nothing, None)


def _node_counters(machine: Machine, node: int) -> Figures:
    values = {
        "nr_slab_unreclaimable": nr_slab_pages(machine, node),
        "nr_page_table_pages": nr_table_pages(machine, node),
    }
    return _filled(machine, NODE_COUNTERS, values)


def _sizes(machine: Machine, zone: Zone) -> Figures:
    buddy = zone.buddy
    marks = zone_watermarks(machine, zone)
    values = {
        "free": buddy.nr_free_pages,
        **marks._asdict(),
        "promo": marks.high + marks.high - marks.low,  # each mark is one step above the last
        "spanned": buddy.end_pfn - buddy.start_pfn,
        "present": buddy.nr_present_pages,
        "managed": zone.nr_managed_pages,
    }
    return _filled(machine, SIZES, values)


def _population(machine: Machine, zone: Zone) -> ZonePopulation:
    cpus = online_cpus(machine)
    threshold = normal_threshold(len(cpus), zone.nr_managed_pages)
    values = {"nr_free_pages": zone.buddy.nr_free_pages, **numa_counters(zone)}
    return ZonePopulation(
        _filled(machine, ZONE_COUNTERS, values),
        tuple(Pageset(cpu, *page_list(machine, zone, cpu), threshold) for cpu in cpus),
        0,
        zone.buddy.start_pfn,
    )


def normal_threshold(nr_online_cpus: int, nr_managed_pages: int) -> int:
    """Return how far one CPU's counters may differ from what was added up.

    Source: mm/vmstat.c, Linux 6.1: calculate_normal_threshold().
    """
    nr_units = nr_managed_pages >> THRESHOLD_UNIT_SHIFT - PAGE_SHIFT
    return min(2 * nr_online_cpus.bit_length() * (1 + nr_units.bit_length()), THRESHOLD_MAX)


def zoneinfo_text(rows: tuple[ZoneRow, ...]) -> str:
    """Return the file as the kernel prints it."""
    return "".join(f"{line}\n" for row in rows for line in _lines(row))


def _lines(row: ZoneRow) -> list[str]:
    lines = [f"Node {row.node}, zone {row.zone:>8}"]
    if row.node_counters:
        lines.append("  per-node stats")
        lines += _counter_lines(row.node_counters)
    for size in row.sizes:
        label = f"  pages {FREE}    " if size.name == FREE else f"        {size.name:<8}"
        lines.append(f"{label} {size.value}")
    lines.append(f"        protection: ({', '.join(map(str, row.protection))})")
    if row.population is None:
        return lines
    lines += _counter_lines(row.population.counters)
    lines.append("  pagesets")
    for pageset in row.population.pagesets:
        lines += [
            f"    cpu: {pageset.cpu}",
            f"              count: {pageset.nr_pages}",
            f"              high:  {pageset.high}",
            f"              batch: {pageset.batch}",
            f"  vm stats threshold: {pageset.threshold}",
        ]
    lines += [
        f"  node_unreclaimable:  {row.population.node_unreclaimable}",
        f"  start_pfn:           {row.population.start_pfn}",
    ]
    return lines


def _counter_lines(counters: Figures) -> list[str]:
    return [f"      {counter.name:<12} {counter.value}" for counter in counters]
