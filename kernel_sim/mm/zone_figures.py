"""Zone figures: watermarks and list sizes of all zones, put into them and checked.

    sizes of zones ─► min_free_kbytes ─► marks of each zone ─► high of its lists
                                          online CPUs of its node ─┘

Nothing of this is state: it follows from the zones' memory, the online CPUs and what was set by
hand, and is computed anew when one of these has changed.
Source: setup_per_zone_wmarks(), zone_pcp_update() in mm/page_alloc.c, Linux 6.1.
"""

from __future__ import annotations

from kernel_sim.errors import InvariantBroken
from kernel_sim.mm.page_lists import ListSize, list_sizes
from kernel_sim.mm.watermarks import (
    PROFILE_MODERN,
    PROFILE_PLAIN,
    ZoneMarks,
    khugepaged_min_free_kbytes,
    sqrt_min_free_kbytes,
    zone_marks,
)
from kernel_sim.mm.zone import Zone

Figures = tuple[ZoneMarks, tuple[ListSize, ...]]


def min_free_kbytes_of(zones: tuple[Zone, ...], profile: str, khugepaged: bool) -> int:
    """Return min_free_kbytes as the kernel computes it; 0 for a profile without watermarks."""
    if profile == PROFILE_PLAIN:
        return 0
    sizes = tuple(zone.size() for zone in zones)
    if profile == PROFILE_MODERN and khugepaged:
        return khugepaged_min_free_kbytes(sizes)
    return sqrt_min_free_kbytes(sizes, profile)


def figures_of(
    zones: tuple[Zone, ...],
    *,
    profile: str,
    min_free_kbytes: int,
    online_cpus_of_node: dict[int, int],
) -> tuple[Figures, ...]:
    """Return marks and list sizes of every zone, as they follow from everything else."""
    sizes = tuple(zone.size() for zone in zones)
    all_marks = zone_marks(sizes, min_free_kbytes=min_free_kbytes, profile=profile)
    nr_online = sum(online_cpus_of_node.values())
    return tuple(
        (
            marks,
            list_sizes(
                profile,
                nr_pages=size.nr_pages(profile),
                low_pages=marks.low_pages,
                nr_cpus=online_cpus_of_node.get(size.node, 0) or nr_online or 1,
            ),
        )
        for size, marks in zip(sizes, all_marks, strict=True)
    )


def set_figures(zones: tuple[Zone, ...], all_figures: tuple[Figures, ...]) -> None:
    """Put marks and list sizes into the zones."""
    for zone, (marks, sizes) in zip(zones, all_figures, strict=True):
        zone.marks = marks
        if zone.lists is not None:
            zone.lists.sizes = sizes


def check_figures(zones: tuple[Zone, ...], all_figures: tuple[Figures, ...]) -> None:
    """Raise InvariantBroken if a zone has other figures than those expected."""
    for zone, (marks, sizes) in zip(zones, all_figures, strict=True):
        if zone.marks != marks or (zone.lists is not None and zone.lists.sizes != sizes):
            raise InvariantBroken(
                f"node {zone.node} zone {zone.name}: watermarks or list sizes are out of date"
            )


def check_numa_counters(
    zones: tuple[Zone, ...], per_node: tuple[list[int], list[int], list[int]]
) -> None:
    """Raise InvariantBroken if hit, miss and foreign of nodes are not the sums over their zones."""
    for node, counted in enumerate(zip(*per_node, strict=True)):
        rows = [zone.numa for zone in zones if zone.node == node]
        in_zones = tuple(sum(row[number] for row in rows) for number in range(3))
        if in_zones != counted:
            raise InvariantBroken(
                f"node {node} counts hit, miss, foreign {counted}, its zones {in_zones}"
            )
