"""What must hold of all modules together, recomputed slowly.

references    refcnt = 1 for being there + 1 while loading + users that are modules + other holds
dependencies  a uses b exactly if b is used by a
memory        blocks of whole pages, nobody's overlaps another's, sections inside their blocks
"""

from __future__ import annotations

from collections.abc import Sequence

from kernel_sim.errors import InvariantBroken
from kernel_sim.modules.module import (
    COMING,
    GOING,
    LIVE,
    MODULE_NEXT,
    MODULE_REF_BASE,
    UNFORMED,
    Module,
)


def check_modules(modules: Sequence[Module], page_size: int) -> None:
    """Raise InvariantBroken at the first contradiction."""
    by_name: dict[str, Module] = {}
    for module in modules:
        if module.name in by_name:
            raise InvariantBroken(f"two modules are called {module.name}")
        by_name[module.name] = module
    for module in modules:
        _check_references(module, by_name)
        _check_memory(module, page_size)
    _check_blocks(modules)
    _check_exports(modules)


def _check_references(module: Module, by_name: dict[str, Module]) -> None:
    if module.state not in MODULE_NEXT:
        raise InvariantBroken(f"module {module.name} is in state {module.state!r}")
    for name in module.uses:
        if name not in by_name or module.name not in by_name[name].used_by:
            raise InvariantBroken(f"module {module.name} uses {name}, which does not know it")
    for name in module.used_by:
        if name not in by_name or module.name not in by_name[name].uses:
            raise InvariantBroken(f"module {module.name} is used by {name}, which does not use it")
    users = module.nr_holds + len(module.used_by)
    loading = 1 if module.state in (UNFORMED, COMING) else 0
    expected = [MODULE_REF_BASE + loading + users]
    if module.state == GOING:
        # Unloading takes the base away too; a module whose init failed keeps it to the end.
        expected = [0, MODULE_REF_BASE + users]
    if module.refcnt not in expected:
        raise InvariantBroken(
            f"module {module.name}: refcnt {module.refcnt}, its users make {expected[-1]}"
        )


def _check_memory(module: Module, page_size: int) -> None:
    for what, addr, size_bytes in _blocks(module):
        if addr % page_size or size_bytes % page_size:
            raise InvariantBroken(f"module {module.name}: {what} is not of whole pages")
    if module.state == LIVE and (module.init_addr or module.init_size_bytes):
        raise InvariantBroken(f"module {module.name} is live and still has its init block")
    for section in module.sections:
        inside = any(
            addr <= section.addr and section.addr + section.size_bytes <= addr + size_bytes
            for _, addr, size_bytes in _blocks(module)
        )
        if not inside:
            raise InvariantBroken(f"module {module.name}: {section.name} lies outside of it")
    for symbol in module.percpu_symbols:
        offset = symbol.value - module.percpu_ptr
        if module.percpu_ptr and not 0 <= offset <= module.percpu_size_bytes:
            raise InvariantBroken(f"module {module.name}: {symbol.name} is outside of its area")


def _check_blocks(modules: Sequence[Module]) -> None:
    blocks = sorted(
        (addr, size_bytes, module.name)
        for module in modules
        for _, addr, size_bytes in _blocks(module)
    )
    last_end, last_name = 0, ""
    for addr, size_bytes, name in blocks:
        if addr < last_end:
            raise InvariantBroken(f"modules {last_name} and {name} overlap at {addr:#x}")
        last_end, last_name = addr + size_bytes, name


def _check_exports(modules: Sequence[Module]) -> None:
    owners: dict[str, str] = {}
    for module in modules:
        if module.state != UNFORMED:
            for name in module.exports:
                if name in owners:
                    raise InvariantBroken(f"{owners[name]} and {module.name} both export {name}")
                owners[name] = module.name


def _blocks(module: Module) -> list[tuple[str, int, int]]:
    blocks = (
        ("core", module.core_addr, module.core_size_bytes),
        ("init", module.init_addr, module.init_size_bytes),
    )
    return [block for block in blocks if block[1]]
