"""What an access to a per-CPU copy costs: the path is really walked, every load of it by the CPU.

    this_cpu / per_cpu of the system ──► load(addr, size) ──► TLB, tables, memory ──► Reference
                                     ──► address of the copy ──► the datum itself ──► Reference, the last

By default the CPU itself does it, and its TLB remembers. Given a trial (MemoryAccess.trial()), nothing
that belongs to the machine changes: so a view may count too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_sim.mm.memory_access import AccessReport, MemoryAccess
from kernel_sim.mm.page import PAGE_SHIFT

if TYPE_CHECKING:
    from kernel_sim.machine import Machine


@dataclass(frozen=True, slots=True)
class Reference:
    """One memory reference: what was read where, on whose memory, and what its translation cost.

    value: what the load brought; of the datum the low word. node: of the memory that answered.
    """

    addr: int
    size_bytes: int
    value: int
    node: int
    is_datum: bool
    report: AccessReport


def count_references(
    machine: Machine,
    cpu: int,
    ptr: int,
    owner: int | None = None,
    *,
    size_bytes: int = 0,
    access: MemoryAccess | None = None,
) -> list[Reference]:
    """Return every reference of an access by cpu to owner's copy (None: its own), the datum last.

    size_bytes: of the datum, 0 for a word; access: the machine's own unless another is given. Raises
    BadAccess or PageFault where the path or the datum does.
    """
    done_by = access or machine.access
    found: list[Reference] = []

    def load(addr: int, size: int, is_datum: bool = False) -> int:
        addr &= machine.arch.address_mask
        report = done_by.access(cpu, addr, size)
        value = int.from_bytes(done_by.memory.read(report.phys, size), "little")
        node = machine.pages.node_of_pfn(report.phys >> PAGE_SHIFT)
        found.append(Reference(addr, size, value, node, is_datum, report))
        return value

    system = machine.system
    if owner is None:
        addr = system.this_cpu(load, cpu, ptr)
    else:
        addr = system.per_cpu(load, cpu, ptr, owner)
    load(addr, size_bytes or machine.arch.word_bytes, True)
    return found
