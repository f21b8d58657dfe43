"""Which memory a CPU reads on its way to a copy, and where that lies. Nothing is touched by asking.

    base register                          no reference
    __per_cpu_offset[cpu]                  one, before the datum
    pointer array, offset table            more
    the datum itself                       the last

The machine performs the access through the CPU's TLB and counts there; this is the same way, told by the
system's own code, for what a counter cannot say: which pages, and on whose node.
"""

from __future__ import annotations

from typing import NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.percpu.reference_count import Reference, count_references


class Reached(NamedTuple):
    """One reference: its address, the page that a TLB would keep for it, and the node of its memory."""

    addr: int
    page_addr: int
    page_shift: int
    node: int


def access_path(machine: Machine, cpu: int, ptr: int, owner: int) -> list[Reached]:
    """Return the references of an access of cpu to owner's copy, the datum last.

    Raises BadAccess where a reference would fault.
    """
    beside = MemoryAccess(machine.space, machine.memory, {}, marks_entries=False)
    whose = None if cpu == owner else owner
    path = count_references(machine, cpu, ptr, whose, size_bytes=1, access=beside)
    return [_reached(machine, reference) for reference in path]


def _reached(machine: Machine, reference: Reference) -> Reached:
    shift = reference.report.page_shift
    tlb = next(iter(machine.tlbs.values()), None)
    if tlb is not None:
        shift = tlb.profile.cached_shift(shift) or shift
    return Reached(reference.addr, reference.addr >> shift << shift, shift, reference.node)
