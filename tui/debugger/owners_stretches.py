"""Who owns an address of a per-CPU system's memory, told by its stretches: the same for every system.

address ──► stretch: what it is, whose copy, of which area ──► that area: who made it, the other copies
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernel_sim.machine import Machine
from kernel_sim.percpu.stretch import DATA_KINDS, DYNAMIC, SHARED, STATIC, Stretch
from tui.debugger.areas import birth_facts_of_ptr
from tui.debugger.owner import Owner
from tui.debugger.owners_units import unit_owner
from tui.debugger.strips import copies_of, find_stretch
from tui.debugger.symbols import module_variable_at, percpu_symbol_at
from tui.debugger.table import Cell

if TYPE_CHECKING:
    from tui.debugger.session import Session

COPIES_SHOWN = 8


def percpu_owner(session: Session, virt: int) -> Owner | None:
    """Return the owner of a virtual address in memory of the per-CPU system, None for any other."""
    if session.machine.bitmap is not None:
        return unit_owner(session, virt)
    stretch = find_stretch(session.machine, virt)
    return None if stretch is None else stretch_owner(session, stretch, virt)


def is_percpu_ptr(machine: Machine, ptr: int) -> bool:
    """Say whether a number is, or lies in, what the per-CPU system hands out for all copies."""
    if machine.bitmap is not None:
        return machine.bitmap.chunk_of(machine.bitmap.addr_of(ptr)) is not None
    static = ptr - machine.system.percpu_start
    return machine.system.holds(ptr) or 0 <= static < machine.system.static_bytes


def stretch_owner(session: Session, stretch: Stretch, virt: int) -> Owner:
    """Return what a stretch says of an address in it."""
    machine = session.machine
    inside = virt - stretch.addr
    summary = f"{stretch.strip}: {stretch.what}"
    summary += (
        f" of {stretch.size_bytes} bytes, byte {inside}"
        if inside
        else f", {stretch.size_bytes} bytes"
    )
    facts: list[tuple[str, Cell]] = [
        ("system", machine.system.name),
        ("strip", stretch.strip),
        ("start", f"{stretch.addr:#x}"),
        ("size", stretch.size_bytes),
    ]
    if stretch.cpu != SHARED:
        facts.append(("cpu", stretch.cpu))
        summary += f", copy of CPU {stretch.cpu}" if stretch.kind in DATA_KINDS else ""
    if stretch.node >= 0:
        facts.append(("node", stretch.node))
    cpu = None if stretch.cpu == SHARED else stretch.cpu
    owner = Owner(virt, stretch.kind, summary, facts, cpu=cpu)
    _add_names(session, owner, stretch, inside)
    return owner


def _add_names(session: Session, owner: Owner, stretch: Stretch, inside: int) -> None:
    """Tell the symbol, the area's maker, and where its other copies are."""
    machine = session.machine
    if stretch.kind == STATIC:
        name = percpu_symbol_at(machine, inside)
        if name:
            owner.facts.append(("symbol", name))
            owner.summary += f" ({name})"
    if not stretch.ptr:
        return
    owner.facts.append(("ptr", f"{stretch.ptr:#x}"))
    owned = module_variable_at(machine, stretch.ptr + inside) or module_variable_at(
        machine, stretch.ptr
    )
    if owned is not None:
        module, variable = owned
        owner.facts += [("module", module.name), ("variable", variable or None)]
        owner.summary += f", {f'{variable} of ' if variable else ''}module {module.name}"
    elif stretch.kind == DYNAMIC:
        born = birth_facts_of_ptr(session, stretch.ptr)
        owner.facts += born
        owner.summary += f": {born[0][1]}"
    owner.facts += copy_facts(machine, stretch.ptr)


def copy_facts(machine: Machine, ptr: int) -> list[tuple[str, Cell]]:
    """Return where the copies of an area are, those of the first CPUs."""
    copies = copies_of(machine, ptr, len(machine.topology.possible))
    facts: list[tuple[str, Cell]] = [
        (f"copy of CPU {cpu}", f"{addr:#x}") for cpu, addr in copies[:COPIES_SHOWN]
    ]
    if len(copies) > COPIES_SHOWN:
        facts.append(("more copies", len(copies) - COPIES_SHOWN))
    return facts


def owner_of_ptr(session: Session, ptr: int) -> Owner:
    """Say what a ptr of the per-CPU system stands for and where its copies are."""
    machine = session.machine
    copies = copies_of(machine, ptr, 1)
    stretch = find_stretch(machine, copies[0][1]) if copies else None
    if stretch is None or stretch.kind not in DATA_KINDS:
        return Owner(ptr, "nothing", f"no __percpu pointer of {machine.system.name}")
    owner = stretch_owner(session, stretch, copies[0][1])
    owner.summary = "a __percpu pointer: " + owner.summary.replace(
        f", copy of CPU {stretch.cpu}", ""
    )
    owner.address, owner.cpu = ptr, None
    owner.facts = [fact for fact in owner.facts if fact[0] not in ("cpu", "node")]
    if not stretch.ptr:
        owner.facts += copy_facts(machine, ptr)
    return owner


def spans_of(machine: Machine) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of every run of addresses that the system's stretches cover without a gap."""
    start = end = 0
    for stretch in machine.system.stretches():
        if stretch.addr != end:
            if end > start:
                yield start, end
            start = stretch.addr
        end = stretch.end
    if end > start:
        yield start, end
