"""Who owns a place in the unit of a CPU: static data, an area, free space, a hidden end.

    unit of the first chunk   | static | reserved chunk | first chunk | given back at boot |
    unit of a later chunk     | area | free | area |  free space without a page             |

Only what is free can be without a page: an area has its pages before anybody hears of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.chunk import Chunk
from tui.debugger.areas import area_around, birth_facts
from tui.debugger.chunk_names import chunk_name
from tui.debugger.owner import Owner
from tui.debugger.symbols import module_variable_at, percpu_symbol_at
from tui.debugger.table import Cell

if TYPE_CHECKING:
    from tui.debugger.session import Session


def unit_owner(session: Session, virt: int) -> Owner | None:
    """Return the owner of an address in somebody's unit of a chunk of the bitmap allocator."""
    machine = session.machine
    percpu, offsets = machine.percpu, machine.places.unit_offsets
    bases = [percpu.base_addr, *(percpu.chunks[n].base_addr for n in percpu.chunks if n > 0)]
    for base in bases:
        for cpu in machine.places.cpus:
            offset = virt - base - offsets[cpu] & machine.arch.address_mask
            if offset < percpu.unit_size_bytes:
                return owner_in_unit(session, base, cpu, offset)
    return None


def owner_in_unit(session: Session, base: int, cpu: int, offset: int) -> Owner | None:
    """Say who owns an offset of a CPU's unit; base is the address of unit 0 of the chunk.

    None for the unused tail of the first chunk's unit, which was given back at boot.
    """
    machine = session.machine
    percpu = machine.percpu
    if base != percpu.base_addr:
        return _in_chunk(session, percpu.chunk_by_base[base], cpu, offset)
    if offset < machine.alloc_info.static_size_bytes:
        return _static_owner(machine, cpu, offset)
    for chunk in (percpu.reserved_chunk, percpu.chunks[0]):
        if chunk is not None:
            inside = base + offset - chunk.base_addr
            if chunk.start_offset <= inside < (chunk.nr_pages << PAGE_SHIFT) - chunk.end_offset:
                return _in_chunk(session, chunk, cpu, inside)
    if offset < machine.alloc_info.size_sum_bytes:
        return Owner(0, "padding", f"padding in the first unit of CPU {cpu}, at {offset}", cpu=cpu)
    return None


def _static_owner(machine: Machine, cpu: int, offset: int) -> Owner:
    name = percpu_symbol_at(machine, offset)
    what = f" ({name})" if name else ""
    summary = f"static per-CPU data of CPU {cpu}, at offset {offset}{what}"
    owner = Owner(0, "static", summary, cpu=cpu, offset=offset)
    owner.facts = [("cpu", cpu), ("offset", offset)]
    if name:
        owner.facts.append(("symbol", name))
    return owner


def _in_chunk(session: Session, chunk: Chunk, cpu: int, offset: int) -> Owner:
    """Say who owns an offset of a chunk, in the unit of a CPU."""
    page = offset >> PAGE_SHIFT
    where = f"{chunk_name(chunk.number)}, unit of CPU {cpu}, page {page}"
    facts: list[tuple[str, Cell]] = [
        ("chunk", chunk.number),
        ("cpu", cpu),
        ("node", session.machine.topology.node_of_cpu[cpu]),
        ("offset", offset),
        ("page", page),
        ("populated", bool(chunk.populated >> page & 1)),
    ]
    served_end = (chunk.nr_pages << PAGE_SHIFT) - chunk.end_offset
    if not chunk.start_offset <= offset < served_end:
        return Owner(0, "hidden", f"a hidden end of {where}", facts, chunk.number, cpu, offset)
    area = area_around(chunk, offset)
    facts += [("area_offset", area.offset), ("area_size", area.size)]
    if not area.is_live:
        kind = "free" if chunk.populated >> page & 1 else "unpopulated"
        text = "free space" if kind == "free" else "free space without a page"
        return Owner(0, kind, f"{text} in {where}", facts, chunk.number, cpu, offset)
    ptr = session.machine.percpu.ptr_of(chunk.base_addr + area.offset)
    facts.append(("ptr", f"{ptr:#x}"))
    owned = module_variable_at(session.machine, ptr + offset - area.offset)
    owned = owned or module_variable_at(session.machine, ptr)
    born = birth_facts(session, chunk.base_addr, area.offset)
    facts += born
    inside = f", byte {offset - area.offset}," if offset > area.offset else ","
    extent = f"[{area.offset}+{area.size}] of {where}"
    whose = ""
    if owned is not None:
        module, variable = owned
        facts += [("module", module.name), ("variable", variable or None)]
        whose = f", {f'{variable} of ' if variable else ''}module {module.name}"
    summary = f"an area of {area.size} bytes{inside} {extent}: {born[0][1]}{whose}"
    return Owner(0, "area", summary, facts, chunk.number, cpu, offset)
