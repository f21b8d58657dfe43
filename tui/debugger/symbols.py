"""Names of places: the kernel's symbols, its static per-CPU variables, and what modules brought along.

    x86-64   a per-CPU symbol is an offset in every unit          runqueues  0x31000
    i386     it is an address inside the kernel image             runqueues  0xc1a31000
    module   its per-CPU variables are __percpu pointers into the module's own area

All three are asked for by offset in the unit, so that callers need not know the architecture.
"""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.modules.module import Module, ModuleSymbol

SECTION_BOUNDS = "__per_cpu_"  # begins names that say where the part begins and ends


def percpu_symbols(machine: Machine) -> list[tuple[int, str]]:
    """Return (offset in the unit, name) of every static per-CPU variable, ascending."""
    found: list[tuple[int, str]] = []
    for name in machine.symbols:
        offset = machine.percpu_symbol_offset(name)
        if offset is not None:
            found.append((offset, name))
    return sorted(found)


def percpu_symbol_at(machine: Machine, offset: int) -> str:
    """Return `name` or `name+0x4` of the variable at or before an offset of the static part, or ""."""
    below = [
        (at, not name.startswith(SECTION_BOUNDS), name)
        for at, name in percpu_symbols(machine)
        if at <= offset
    ]
    if not below:
        return ""
    at, _, name = max(below)
    return with_offset(name, offset - at)


def image_symbol_at(machine: Machine, virt: int) -> str:
    """Return `name` or `name+0x4` of the symbol at or before an address of the kernel image, or ""."""
    floor = machine.arch.image_map_addr
    names = ((at, name) for name, at in machine.symbols.items() if floor <= at <= virt)
    at, name = max(names, default=(0, ""))
    return with_offset(name, virt - at) if name else ""


def with_offset(name: str, offset: int) -> str:
    """Return a name, with the offset behind it if there is one."""
    return f"{name}+{offset:#x}" if offset else name


def find_symbol(machine: Machine, name: str) -> tuple[int, bool] | None:
    """Return (value, is it a __percpu pointer?) of a kernel symbol, or else of a module's."""
    value = machine.symbols.get(name)
    if value is not None:
        return value, machine.percpu_symbol_offset(name) is not None
    for module in machine.modules.modules:
        for symbol in module.symbols:
            if symbol.name == name:
                return symbol.value, symbol.is_percpu
    return None


def module_at(machine: Machine, virt: int) -> Module | None:
    """Return the module whose core or init part holds an address."""
    for module in machine.modules.modules:
        in_core = module.core_addr <= virt < module.core_addr + module.core_size_bytes
        if in_core or module.init_addr <= virt < module.init_addr + module.init_size_bytes:
            return module
    return None


def module_variable_at(machine: Machine, ptr: int) -> tuple[Module, str] | None:
    """Return whose per-CPU memory a __percpu pointer is, and the variable there, "" without a name.

    That is a module's own per-CPU section, or an area that its script allocated and still holds
    (known only by where it begins).
    """
    for module in machine.modules.modules:
        if module.percpu_ptr <= ptr < module.percpu_ptr + module.percpu_size_bytes:
            return module, _percpu_symbol_of(module, ptr)
        for variable, start in module.variables.items():
            if start == ptr:
                return module, f"*{variable}"
    return None


def _percpu_symbol_of(module: Module, ptr: int) -> str:
    below = [symbol for symbol in module.percpu_symbols if symbol.value <= ptr]
    best: ModuleSymbol | None = max(below, key=lambda symbol: symbol.value, default=None)
    if best is None or ptr >= best.value + max(best.size_bytes, 1):
        return ""
    return with_offset(best.name, ptr - best.value)
