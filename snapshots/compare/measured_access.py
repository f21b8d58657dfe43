"""One access to a per-CPU copy, really made by a simulated CPU, and what it cost.

    own copy         this_cpu_read, this_cpu_write          counted by the CPU's TLB: translations looked up,
    another's        per_cpu; per_cpu_ptr and write         missed, table entries read for that
                                                            told by the system's own code: pages, nodes

Without TLBs nothing counts translations; the references are then those that the code tells of.
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.call import Arg, Call
from kernel_sim.machine import Machine
from snapshots.compare.access_path import Reached, access_path
from snapshots.timeline import Timeline


class Cost(NamedTuple):
    """What an access cost; path: each reference, the datum last."""

    nr_references: int
    nr_tlb_misses: int
    nr_walk_references: int
    nr_remote: int
    path: tuple[Reached, ...] = ()


def measured_access(
    timeline: Timeline, ptr: int, size_bytes: int, *, cpu: int, owner: int, write: bool
) -> Cost:
    """Let a CPU read or write owner's copy of what a ptr names, and return the cost.

    Raises BadAccess, before anything is done, where it would fault.
    """
    machine = timeline.machine
    path = access_path(machine, cpu, ptr, owner)
    before = _tlb_counts(machine, cpu)
    _perform(timeline, ptr, size_bytes, cpu, owner, write)
    lookups, misses, walks = (
        after - start for after, start in zip(_tlb_counts(machine, cpu), before, strict=True)
    )
    node = machine.cpus[cpu].node
    nr_remote = sum(reached.node != node for reached in path)
    has_tlb = cpu in machine.tlbs
    return Cost(lookups if has_tlb else len(path), misses, walks, nr_remote, tuple(path))


def _perform(
    timeline: Timeline, ptr: int, size_bytes: int, cpu: int, owner: int, write: bool
) -> None:
    if cpu == owner and write:
        _take(timeline, "this_cpu_write", cpu, ptr, 1, size_bytes)
    elif cpu == owner:
        _take(timeline, "this_cpu_read", cpu, ptr, size_bytes)
    elif write:
        call = _take(timeline, "per_cpu_ptr", cpu, ptr, owner)
        if call is not None and isinstance(call.result, int):
            _take(timeline, "write", cpu, call.result, 1, size_bytes)
    else:
        _take(timeline, "per_cpu", cpu, ptr, owner, size_bytes)


def _take(timeline: Timeline, do: str, cpu: int, *args: Arg) -> Call | None:
    return timeline.take(do, cpu, args)


def _tlb_counts(machine: Machine, cpu: int) -> tuple[int, int, int]:
    """Return how many translations a CPU looked up, missed, and how many table entries it read."""
    tlb = machine.tlbs.get(cpu)
    if tlb is None:
        return 0, 0, 0
    counts = tlb.counters
    lookups = counts.l1_hits + counts.l2_hits + counts.misses
    return lookups, counts.misses, counts.walk_references
