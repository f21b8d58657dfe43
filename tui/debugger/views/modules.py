"""Loaded modules, newest first as lsmod has them; and one module from the inside."""

from __future__ import annotations

from collections.abc import Iterator

from kernel_sim.modules.module import Module
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.table import DEC, HEX, Cell, Column, Table, count

LIST_COLUMNS = (
    Column("module"),
    Column("size", DEC, "bytes of core and, while it is there, init"),
    Column("used", DEC, "references of modules and others"),
    Column("used_by"),
    Column("state"),
    Column("core_addr", HEX),
    Column("percpu_ptr", HEX, "__percpu pointer of its own per-CPU section"),
    Column("percpu_size", DEC, "bytes in each unit"),
    Column("uses", help="modules whose symbols it needs"),
    Column("areas", DEC, "per-CPU areas that it allocated and holds"),
)
INSIDE_COLUMNS = (
    Column("kind", help="section, symbol (by the letter of nm), export, percpu, area"),
    Column("name"),
    Column("address", HEX, "of a per-CPU thing: the __percpu pointer"),
    Column("size", DEC, "bytes"),
    Column("cpu0", HEX, "where the first CPU's copy is"),
)
NO_MODULES = "no module is loaded: insmod FILE loads an object file, .ko or .o"
PREFIX = "MODULE_STATE_"


def modules_view(session: Session) -> Table:
    """Return a row for every module."""
    loader = session.machine.modules
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            module.name,
            module.size_bytes,
            module.use_count,
            " ".join(module.used_by),
            module.state.removeprefix(PREFIX).capitalize(),
            module.core_addr or None,
            module.percpu_ptr if module.percpu_size_bytes else None,
            module.percpu_size_bytes or None,
            " ".join(module.uses),
            len(module.variables),
        )
        for module in loader.modules
    )
    empty: tuple[str, ...] = () if rows else (NO_MODULES,)
    leaks = tuple(
        f"leaked by {name}: area of {variable} at {ptr:#x}" for name, variable, ptr in loader.leaks
    )
    return Table(
        f"{count(len(rows), 'module')} at step {session.step}", LIST_COLUMNS, rows, leaks or empty
    )


def module_view(session: Session, name: str) -> Table:
    """Return what a module consists of. Raises CommandError: no such module."""
    module = session.machine.modules.find_module(name)
    if module is None:
        raise CommandError(f"there is no module {name!r} at step {session.step}; lsmod lists them")
    state = module.state.removeprefix(PREFIX).capitalize()
    notes = [
        f"core {module.core_addr:#x}+{module.core_size_bytes:#x}, "
        f"init {module.init_addr:#x}+{module.init_size_bytes:#x}",
        f"refcnt {module.refcnt}, of which {module.use_count} users; "
        f"used by: {' '.join(module.used_by) or '-'}; uses: {' '.join(module.uses) or '-'}",
    ]
    if module.percpu_size_bytes:
        notes.append(
            f"per-CPU section {module.percpu_ptr:#x}+{module.percpu_size_bytes:#x},"
            f" aligned to {module.percpu_align}"
        )
    about = (("license", module.license), ("vermagic", module.vermagic))
    notes += [f"{name} {value}" for name, value in about if value]
    rows = tuple(_rows(session, module))
    title = f"module {name}: {state} at step {session.step}"
    return Table(title, INSIDE_COLUMNS, rows, tuple(notes))


def _rows(session: Session, module: Module) -> Iterator[tuple[Cell, ...]]:
    for section in module.sections:
        yield "section", section.name, section.addr, section.size_bytes, None
    for symbol in sorted(module.symbols, key=lambda each: (each.value, each.name)):
        if symbol.is_percpu:
            copy = _copy(session, symbol.value)
            yield "percpu", symbol.name, symbol.value, symbol.size_bytes, copy
        else:
            yield f"symbol {symbol.letter}", symbol.name, symbol.value, symbol.size_bytes, None
    for name, symbol in module.exports.items():
        yield "export", name, symbol.value, symbol.size_bytes, None
    for variable, ptr in module.variables.items():
        yield "area", variable, ptr, None, _copy(session, ptr)


def _copy(session: Session, ptr: int) -> int | None:
    machine = session.machine
    return machine.system.copy_addr(ptr, machine.topology.possible[0])
