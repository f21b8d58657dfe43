"""What an access to a per-CPU copy reads on its way: every load, where it lies, what its translation cost.

The CPU's path is really walked, with a copy of its TLB: a look changes nothing. `read` does it for real.
"""

from __future__ import annotations

from kernel_sim.errors import BadAccess
from kernel_sim.machine import Machine
from kernel_sim.percpu.reference_count import Reference, count_references
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.strips import find_stretch
from tui.debugger.symbols import image_symbol_at
from tui.debugger.table import DEC, FLAG, HEX, Cell, Column, Table, count

COLUMNS = (
    Column("reference", DEC),
    Column("addr", HEX),
    Column("size", DEC, "bytes"),
    Column("what", help="what lies there"),
    Column("value", HEX, "what was read"),
    Column("node", DEC, "of the memory that answered"),
    Column("remote", FLAG, "whether that is another node than the CPU's"),
    Column("tlb", help="where the translation was found: L1, L2, miss"),
    Column("walk_refs", DEC, "entries of page tables that were read for it"),
    Column("page_size", DEC, "of the page"),
)


def references_view(session: Session, cpu: int, ptr: int, owner: int | None = None) -> Table:
    """Return a row for every reference, the datum last. Raises CommandError where the path faults."""
    machine = session.machine
    trial = machine.access.trial(cpu)
    try:
        path = count_references(machine, cpu, ptr, owner, access=trial)
    except BadAccess as problem:
        text = "; ".join(str(problem).splitlines())
        raise CommandError(f"cpu {cpu} on its way to {ptr:#x}: {text}") from problem
    rows = tuple(_row(machine, cpu, number, each) for number, each in enumerate(path, 1))
    nr_misses = sum(each.report.tlb == "miss" for each in path)
    nr_walked = sum(each.report.walk_references for each in path)
    nr_remote = sum(bool(row[6]) for row in rows)
    whose = "its own copy" if owner is None else f"the copy of cpu {owner}"
    title = (
        f"cpu {cpu} reads {whose} of {ptr:#x}: {count(len(path), 'reference')}, the datum included"
    )
    note = (
        f"{count(nr_misses, 'TLB miss').replace('misss', 'misses')}, for which {nr_walked} table"
        f" entries were read; {nr_remote} of the references go to another node"
    )
    return Table(title, COLUMNS, rows, (note,))


def _row(machine: Machine, cpu: int, number: int, each: Reference) -> tuple[Cell, ...]:
    return (
        number,
        each.addr,
        each.size_bytes,
        _what(machine, each),
        each.value,
        each.node,
        each.node != machine.topology.node_of_cpu[cpu],
        each.report.tlb,
        each.report.walk_references,
        1 << each.report.page_shift,
    )


def _what(machine: Machine, each: Reference) -> str:
    stretch = find_stretch(machine, each.addr)
    if stretch is not None:
        inside = each.addr - stretch.addr
        text = f"{stretch.strip}: {stretch.what}{f' +{inside:#x}' if inside else ''}"
    else:
        text = image_symbol_at(machine, each.addr) or "memory of no per-CPU system"
    return f"the datum: {text}" if each.is_datum else text
