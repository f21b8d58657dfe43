"""Unit layouts of Linux 2.6.32 to 2.6.34: what is asked of the dynamic part decides how it is rounded.

    dyn  n   static + reserved + n, rounded up to a page; the dynamic part gets the rounding
    dyn  0   none at all: the rest of the last page is lost
    dyn -1   just what rounding static + reserved up to a page leaves ("auto")

A unit has at least PCPU_MIN_UNIT_SIZE, 64 KiB in these kernels, and no early minimum is kept for the
dynamic part. A CPU joins the first group in which every earlier CPU is local to it. How many units share
an allocation is as it still is: unit_layout.py.
Source: Linux 2.6.34 mm/percpu.c, pcpu_calc_fc_sizes() and pcpu_build_alloc_info().
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel_sim.alignment import align_up
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.area_percpu import MIN_UNIT_BYTES
from kernel_sim.percpu.unit_layout import (
    AllocInfo,
    DistanceFn,
    NodeFn,
    group_cpus,
    lay_out_units,
)
from kernel_sim.topology import LOCAL_DISTANCE

DYN_AUTO: Final = -1


def build_area_alloc_info(
    *,
    static_size_bytes: int,
    reserved_size_bytes: int,
    dyn_size_bytes: int,
    atom_size_bytes: int,
    cpus: Sequence[int],
    distance: DistanceFn | None = None,
    node_of: NodeFn | None = None,
    min_unit_bytes: int = MIN_UNIT_BYTES,
) -> AllocInfo:
    """Return the layout for the possible cpus; dyn_size_bytes may be DYN_AUTO.

    Groups come from distance(a, b) or, faster, from node_of(cpu); with neither there is one.
    """
    fixed_bytes = static_size_bytes + reserved_size_bytes
    sum_bytes = align_up(fixed_bytes + max(dyn_size_bytes, 0), PAGE_SIZE_BYTES)
    ordered = sorted(cpus)
    if distance is None:
        grouped = group_cpus(ordered, None, node_of)
    else:
        grouped = group_by_all(ordered, distance)
    return lay_out_units(
        static_size_bytes=static_size_bytes,
        reserved_size_bytes=reserved_size_bytes,
        dyn_size_bytes=sum_bytes - fixed_bytes if dyn_size_bytes else 0,
        min_unit_bytes=max(sum_bytes, min_unit_bytes),
        atom_size_bytes=atom_size_bytes,
        grouped=grouped,
    )


def group_by_all(cpus: Sequence[int], distance: DistanceFn) -> list[list[int]]:
    """Return the groups: a CPU joins the first one to whose members it is local, both ways."""
    groups: list[list[int]] = []
    for cpu in cpus:
        for group in groups:
            if all(
                distance(cpu, other) <= LOCAL_DISTANCE and distance(other, cpu) <= LOCAL_DISTANCE
                for other in group
            ):
                group.append(cpu)
                break
        else:
            groups.append([cpu])
    return groups
