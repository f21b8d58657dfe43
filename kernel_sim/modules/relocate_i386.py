"""Relocations of i386 modules: REL entries, the addend is what lies at the place.

    32             place += S
    PC32, PLT32    place += S - P        all modulo 2^32: nothing can be out of range

Source: arch/x86/kernel/module.c, Linux 6.1: apply_relocate().
"""

from __future__ import annotations

from collections.abc import Sequence

from kernel_sim.modules.elf_object import Relocation
from kernel_sim.modules.relocation import LoadedBytes, Refused

R_386_32, R_386_PC32, R_386_PLT32 = 1, 2, 4
WIDTH_BYTES = 4


def apply_relocate(
    target: LoadedBytes, relocations: Sequence[Relocation], symbol_values: Sequence[int]
) -> Refused | None:
    """Mend all places of a section; return the first refusal, or None if all were done."""
    for relocation in relocations:
        before = target.find_value(relocation, WIDTH_BYTES)
        if before is None:
            return target.outside(relocation)
        value = before + symbol_values[relocation.symbol_index]
        if relocation.type in (R_386_PC32, R_386_PLT32):
            value -= target.place_of(relocation)
        elif relocation.type != R_386_32:
            return Refused(
                (f"module: {target.module_name}: Unknown relocation: {relocation.type}",)
            )
        target.put_value(relocation, value, WIDTH_BYTES)
    return None
