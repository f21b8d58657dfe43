"""Who owns a physical page: a page table, a unit of a chunk, the kernel image, or the free lists.

A page of a dynamic chunk is found by its page-table entry: only tables that hold that very entry
are looked at, and only the units that such a table serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.boot import KERNEL_MAP_ADDR
from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import (
    ENTRIES_PER_TABLE,
    ENTRY_BYTES,
    LEVEL_SHIFT,
    PFN_MASK,
    table_index,
)
from tui.debugger.owner import Owner
from tui.debugger.owners_units import owner_in_unit

if TYPE_CHECKING:
    from tui.debugger.session import Session

PMD_BYTES = 1 << LEVEL_SHIFT["PMD"]
IMAGE_SPAN_BYTES = 1 << 30  # the kernel's own map does not reach higher


def owner_of_physical(session: Session, phys: int) -> Owner:
    """Say who owns a physical address."""
    machine = session.machine
    pfn = phys >> PAGE_SHIFT
    if not is_memory(machine, phys):
        return Owner(phys, "nothing", "no memory of any node")
    owner = (
        _table_owner(machine, pfn)
        or _unit_at(session, phys)
        or _image_at(machine, phys)
        or _page_state(machine, pfn)
    )
    owner.address = phys
    if all(name != "node" for name, _ in owner.facts):
        owner.facts.append(("node", machine.pages.node_of_pfn(pfn)))
    owner.facts += [("pfn", f"{pfn:#x}"), ("touched", machine.memory.is_touched(pfn))]
    return owner


def is_memory(machine: Machine, phys: int) -> bool:
    """Say whether a physical address is memory of some node."""
    return any(a <= phys < b for ranges in machine.pages.memory.values() for a, b in ranges)


def _table_owner(machine: Machine, pfn: int) -> Owner | None:
    if pfn not in machine.space.table_pfns:
        return None
    what = "the root page table" if pfn == machine.space.root_pfn else "a page-table page"
    return Owner(0, "page table", what)


def _unit_at(session: Session, phys: int) -> Owner | None:
    """Return the owner if the address is in the unit of a CPU: large pages first, then by entry."""
    machine = session.machine
    percpu = machine.percpu
    bases = [percpu.base_addr, *(percpu.chunks[n].base_addr for n in percpu.chunks if n > 0)]
    tables = _tables_with(machine, phys >> PAGE_SHIFT)
    for base in bases:
        for cpu in machine.places.cpus:
            offset = _offset_in_unit(machine, base + machine.places.unit_offsets[cpu], phys, tables)
            owner = None if offset is None else owner_in_unit(session, base, cpu, offset)
            if owner is not None:  # the tail of a first unit was given back and may be another's
                return owner
    return None


def _tables_with(machine: Machine, pfn: int) -> dict[int, list[int]]:
    """Return the tables in which some entry holds this pfn, with the indexes of those entries."""
    wanted = pfn << PAGE_SHIFT
    frame_bytes = (wanted >> 16).to_bytes(4, "little")  # bytes 2 to 5 of an entry
    found: dict[int, list[int]] = {}
    for table_pfn in machine.space.table_pfns:
        frame = machine.memory.frames.get(table_pfn)
        at = frame.find(frame_bytes) if frame is not None else -1
        while frame is not None and at >= 0:
            index = at // ENTRY_BYTES
            entry = int.from_bytes(frame[index * ENTRY_BYTES : (index + 1) * ENTRY_BYTES], "little")
            if entry & 1 and entry & PFN_MASK == wanted:
                found.setdefault(table_pfn, []).append(index)
            at = frame.find(frame_bytes, (index + 1) * ENTRY_BYTES)
    return found


def _offset_in_unit(
    machine: Machine, unit: int, phys: int, tables: dict[int, list[int]]
) -> int | None:
    """Return where in a unit a physical address is mapped, None if it is not."""
    end = unit + machine.percpu.unit_size_bytes
    at = unit
    while at < end:
        walk = machine.space.walk(at)
        span_end = min((at & -PMD_BYTES) + PMD_BYTES, end)
        last = walk.levels[-1] if walk.levels else None
        if walk.phys is not None and walk.page_size_bytes != PAGE_SIZE_BYTES:
            if walk.phys <= phys < walk.phys + span_end - at:
                return at - unit + phys - walk.phys
        elif last is not None and last.name == "PTE":
            first = table_index(at, PAGE_SHIFT)
            for index in tables.get(last.table_pfn, ()):
                virt = at + (index - first) * PAGE_SIZE_BYTES
                if unit <= virt < end and 0 <= index < ENTRIES_PER_TABLE:
                    return virt - unit + phys % PAGE_SIZE_BYTES
        at = span_end
    return None


def _image_at(machine: Machine, phys: int) -> Owner | None:
    if phys < IMAGE_SPAN_BYTES and machine.space.translate(KERNEL_MAP_ADDR + phys) == phys:
        return Owner(0, "kernel image", "the kernel image")
    return None


def _page_state(machine: Machine, pfn: int) -> Owner:
    zone = machine.pages.zone_of_pfn(pfn)
    where = f"in zone {zone.name} of node {zone.node}"
    if zone.buddy.find_not_free(pfn, pfn + 1) is None:
        return Owner(0, "free", f"a free page {where}")
    if zone.buddy.is_reserved(pfn, pfn + 1):
        return Owner(0, "reserved", f"set aside at boot, {where}")
    return Owner(0, "allocated", f"an allocated page of nobody that is known, {where}")
