"""Relocations of x86-64 modules: RELA entries, the addend in the entry, the place zero before.

    type      width   value       must fit
    64        8       S + A
    PC64      8       S + A - P
    32        4       S + A       as unsigned 32 bits
    32S       4       S + A       as signed 32 bits
    PC32      4       S + A - P   not checked (the kernel has that check switched off)
    PLT32     4       as PC32

A per-CPU symbol is its offset in a CPU's area: small if the module's section lies in the reserved part of
the first chunk, so that 32 and 32S reach it. That is what the reserved part is for.
Source: arch/x86/kernel/module.c, Linux 6.1: __apply_relocate_add().
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kernel_sim.modules.elf_object import Relocation
from kernel_sim.modules.relocation import LoadedBytes, Refused

MASK_64 = (1 << 64) - 1


class Recipe(NamedTuple):
    """How one type is done; fits is unsigned, signed, or empty for whatever comes."""

    width_bytes: int
    is_relative: bool
    fits: str


R_X86_64_NONE = 0
RECIPES: dict[int, Recipe] = {
    1: Recipe(8, False, ""),  # R_X86_64_64
    2: Recipe(4, True, ""),  # R_X86_64_PC32
    4: Recipe(4, True, ""),  # R_X86_64_PLT32
    10: Recipe(4, False, "unsigned"),  # R_X86_64_32
    11: Recipe(4, False, "signed"),  # R_X86_64_32S
    24: Recipe(8, True, ""),  # R_X86_64_PC64
}


def apply_relocate_add(
    target: LoadedBytes, relocations: Sequence[Relocation], symbol_values: Sequence[int]
) -> Refused | None:
    """Mend all places of a section; return the first refusal, or None if all were done."""
    for relocation in relocations:
        if relocation.type == R_X86_64_NONE:
            continue
        recipe = RECIPES.get(relocation.type)
        if recipe is None:
            return Refused(
                (f"module: {target.module_name}: Unknown rela relocation: {relocation.type}",)
            )
        refused = _apply(target, relocation, recipe, symbol_values[relocation.symbol_index])
        if refused is not None:
            return refused
    return None


def _apply(
    target: LoadedBytes, relocation: Relocation, recipe: Recipe, symbol_value: int
) -> Refused | None:
    value = symbol_value + relocation.addend & MASK_64
    place = target.place_of(relocation)
    before = target.find_value(relocation, recipe.width_bytes)
    if before is None:
        return target.outside(relocation)
    if before != 0:
        return Refused(
            (
                "module: x86/modules: Skipping invalid relocation target, existing value is nonzero "
                f"for type {relocation.type}, loc {place:016x}, val {value:x}",
            )
        )
    if recipe.is_relative:
        value = value - place & MASK_64
    target.put_value(relocation, value, recipe.width_bytes)
    if not _fits(value, recipe.fits):
        return Refused(
            (
                f"module: overflow in relocation type {relocation.type} val {value:x}",
                f"module: `{target.module_name}' likely not compiled with -mcmodel=kernel",
            )
        )
    return None


def _fits(value: int, how: str) -> bool:
    if how == "unsigned":
        return value < 1 << 32
    if how == "signed":
        return value < 1 << 31 or value >= (1 << 64) - (1 << 31)
    return True
