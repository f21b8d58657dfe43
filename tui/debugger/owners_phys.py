"""Who owns a physical page: lists and holders by number, then areas, units of chunks, the kernel image.

A page of an area or of a dynamic chunk is found by its page-table entry: only tables that hold that
very entry are looked at, and only the areas and units that such a table serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging import PRESENT
from tui.debugger.owner import Owner
from tui.debugger.owners_areas import area_space_owner
from tui.debugger.owners_pages import held_page, idle_page, page_state
from tui.debugger.owners_stretches import percpu_owner, spans_of
from tui.debugger.owners_units import owner_in_unit

if TYPE_CHECKING:
    from tui.debugger.session import Session

Entries = dict[int, list[int]]  # indexes by table
IMAGE_PAGES_MAX = (64 << 20) >> PAGE_SHIFT
IMAGE_SPAN_BYTES = 1 << 30  # the kernel's own map does not reach higher


def owner_of_physical(session: Session, phys: int) -> Owner:
    """Say who owns a physical address."""
    machine = session.machine
    pfn = phys >> PAGE_SHIFT
    if not is_memory(machine, phys):
        return Owner(phys, "nothing", "no memory of any node")
    owner = idle_page(machine, pfn) or held_page(machine, phys)
    if owner is None:
        tables = _entries_with(machine, pfn)
        owner = (
            _area_at(machine, phys, tables)
            or _unit_at(session, phys, tables)
            or _image_at(machine, phys)
            or page_state(machine, pfn)
        )
    owner.address = phys
    if all(name != "node" for name, _ in owner.facts):
        owner.facts.append(("node", machine.pages.node_of_pfn(pfn)))
    owner.facts += [("pfn", f"{pfn:#x}"), ("touched", machine.memory.is_touched(pfn))]
    return owner


def is_memory(machine: Machine, phys: int) -> bool:
    """Say whether a physical address is memory of some node."""
    return any(a <= phys < b for ranges in machine.pages.memory.values() for a, b in ranges)


def _area_at(machine: Machine, phys: int, tables: Entries) -> Owner | None:
    """Return the owner if an area with pages, a module's among them, maps the address."""
    for space in (machine.vmalloc, machine.module_space) if tables else ():
        for area in space.areas:
            if not area.nr_pages or area.start in space.lazy:
                continue
            offset = _offset_in_span(machine, area.start, area.end, phys, tables)
            if offset is not None:
                virt = area.start + offset
                owner = area_space_owner(machine, virt)
                if owner is not None:
                    owner.facts.append(("mapped_at", f"{virt:#x}"))
                return owner
    return None


def _unit_at(session: Session, phys: int, tables: Entries) -> Owner | None:
    """Return the owner if the address is in the unit of a CPU: large pages first, then by entry."""
    machine = session.machine
    percpu = machine.bitmap
    if percpu is None:
        return _strip_at(session, phys, tables)
    bases = [percpu.base_addr, *(percpu.chunks[n].base_addr for n in percpu.chunks if n > 0)]
    for base in bases:
        for cpu in machine.places.cpus:
            unit = base + machine.places.unit_offsets[cpu] & machine.arch.address_mask
            end = unit + percpu.unit_size_bytes
            offset = _offset_in_span(machine, unit, end, phys, tables)
            owner = None if offset is None else owner_in_unit(session, base, cpu, offset)
            if owner is not None:  # the tail of a first unit was given back and may be another's
                return owner
    return None


def _strip_at(session: Session, phys: int, tables: Entries) -> Owner | None:
    """Return the owner if the address is in memory of a system that has no chunks of units."""
    machine = session.machine
    for start, end in spans_of(machine):
        offset = _offset_in_span(machine, start, end, phys, tables)
        owner = None if offset is None else percpu_owner(session, start + offset)
        if owner is not None:
            owner.facts.append(("mapped_at", f"{start + (offset or 0):#x}"))
            return owner
    return None


def _entries_with(machine: Machine, pfn: int) -> Entries:
    """Return the tables in which some entry holds this pfn, with the indexes of those entries."""
    mode = machine.space.mode
    wanted = pfn << PAGE_SHIFT
    frame_bytes = (wanted >> 16).to_bytes(8, "little")[: mode.entry_bytes // 2]  # from byte 2 on
    found: Entries = {}
    for table_pfn in machine.space.table_pfns:
        frame = machine.memory.frames.get(table_pfn)
        at = frame.find(frame_bytes) if frame is not None else -1
        while frame is not None and at >= 0:
            index, next_entry = (
                at // mode.entry_bytes,
                (at // mode.entry_bytes + 1) * mode.entry_bytes,
            )
            entry = int.from_bytes(frame[index * mode.entry_bytes : next_entry], "little")
            if entry & PRESENT and entry & mode.pfn_mask == wanted:
                found.setdefault(table_pfn, []).append(index)
            at = frame.find(frame_bytes, next_entry)
    return found


def _offset_in_span(
    machine: Machine, start: int, end: int, phys: int, tables: Entries
) -> int | None:
    """Return where in a span of addresses a physical address is mapped, None if it is not."""
    mode = machine.space.mode
    lowest = mode.levels[-1]
    table_span_bytes = lowest.nr_entries << PAGE_SHIFT  # what one table of the lowest level covers
    at = start
    while at < end:
        walk = machine.space.walk(at)
        span_end = min((at & -table_span_bytes) + table_span_bytes, end)
        last = walk.levels[-1] if walk.levels else None
        if walk.phys is not None and walk.page_size_bytes != PAGE_SIZE_BYTES:
            if walk.phys <= phys < walk.phys + span_end - at:
                return at - start + phys - walk.phys
        elif last is not None and last.name == lowest.name:
            first = mode.table_index(at, PAGE_SHIFT)
            for index in tables.get(last.table_pfn, ()):
                virt = at + (index - first) * PAGE_SIZE_BYTES
                if start <= virt < end:
                    return virt - start + phys % PAGE_SIZE_BYTES
        at = span_end
    return None


def _image_at(machine: Machine, phys: int) -> Owner | None:
    """Return the kernel image if it holds the address: x86-64 maps it a second time.

    On i386 it lies in the direct map, so what is set aside where the image's own tables stand is taken
    for it.
    """
    arch = machine.arch
    if phys >= IMAGE_SPAN_BYTES or machine.space.translate(arch.image_map_addr + phys) != phys:
        return None
    if arch.image_map_addr == arch.direct_map_addr and not _is_beside_image(machine, phys):
        return None
    return Owner(0, "kernel image", "the kernel image")


def _is_beside_image(machine: Machine, phys: int) -> bool:
    inside = (machine.symbols["__per_cpu_offset"] - machine.arch.image_map_addr) >> PAGE_SHIFT
    pfn = phys >> PAGE_SHIFT
    low, high = min(pfn, inside), max(pfn, inside)
    if high - low > IMAGE_PAGES_MAX:
        return False
    return machine.pages.zone_of_pfn(pfn).buddy.is_reserved(low, high + 1)
