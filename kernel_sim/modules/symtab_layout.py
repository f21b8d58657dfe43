"""The symbol table of a module in memory: all of it beside init, the lasting symbols at the end of core.

    core … | Elf_Sym of symbol 0 and of every core symbol | their names | one type letter each |
    init … | .symtab | .strtab | struct mod_kallsyms | one type letter for every symbol |

A core symbol is one of a section that stays; per-CPU symbols count, for they are in no block at all
(CONFIG_KALLSYMS_ALL is set, as in distribution kernels).
Source: kernel/module/kallsyms.c, Linux 6.1: layout_symtab(), is_core_symbol(), add_kallsyms().
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kernel_sim.alignment import align_up
from kernel_sim.modules.elf_headers import (
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_ABS,
    SHN_UNDEF,
    SHT_NOBITS,
    X86_64,
    Section,
)
from kernel_sim.modules.elf_object import ElfObject, Symbol
from kernel_sim.modules.section_layout import ModuleLayout, Placed, module_get_offset

_BINDS = ("local", "global", "weak")
_KINDS = ("notype", "object", "func", "section", "file", "common", "tls")


@dataclass(frozen=True, slots=True)
class SymtabLayout:
    """Where the lasting symbols go; offsets in bytes from the start of core, indexes of symbols."""

    core_symbols: tuple[int, ...]
    symbols_offset: int
    strings_offset: int
    types_offset: int


def layout_symtab(elf: ElfObject, layout: ModuleLayout, page_size: int) -> SymtabLayout:
    """Take room for the symbols in both blocks and return where the lasting ones go."""
    table, strings = elf.symbol_table, elf.string_table
    percpu = elf.find_percpu_section()
    core_symbols = tuple(
        index
        for index, symbol in enumerate(elf.symbols)
        if index == 0 or _is_core_symbol(symbol, layout, percpu)
    )
    _take_in_init(layout, table)
    core = layout.core
    symbols_offset = align_up(core.size_bytes, table.align or 1)
    strings_offset = symbols_offset + len(core_symbols) * elf.elf_class.symbol_bytes
    name_bytes = sum(len(_name_bytes(elf.symbols[index])) + 1 for index in core_symbols)
    types_offset = strings_offset + name_bytes
    core.size_bytes = align_up(types_offset + len(core_symbols), page_size)

    _take_in_init(layout, strings)
    init, word_bytes = layout.init, elf.elf_class.word_bytes
    # struct mod_kallsyms: a pointer, a count, two pointers.
    init.size_bytes = align_up(init.size_bytes, word_bytes) + 4 * word_bytes + len(elf.symbols)
    init.size_bytes = align_up(init.size_bytes, page_size)
    return SymtabLayout(core_symbols, symbols_offset, strings_offset, types_offset)


def core_symtab_bytes(
    elf: ElfObject, places: SymtabLayout, values: list[int]
) -> tuple[bytes, bytes, bytes]:
    """Return the lasting symbols, their names and their type letters as they lie in core."""
    symbols, names, types = bytearray(), bytearray(), bytearray()
    percpu = elf.find_percpu_section()
    for index in places.core_symbols:
        symbol = elf.symbols[index]
        symbols += _packed(elf, symbol, len(names), values[index])
        names += _name_bytes(symbol) + b"\0"
        types += type_letter(elf, symbol, percpu).encode()
    return bytes(symbols), bytes(names), bytes(types)


def type_letter(elf: ElfObject, symbol: Symbol, percpu: Section | None) -> str:
    """Return the letter that /proc/kallsyms shows. Source: elf_type(), Linux 6.1."""
    index = symbol.section_index
    if symbol.bind == "weak":
        return "v" if symbol.kind == "object" else "w"
    if index == SHN_UNDEF:
        return "U"
    if index == SHN_ABS or (percpu is not None and index == percpu.index):
        return "a"
    if index >= len(elf.sections):
        return "?"
    section = elf.sections[index]
    if section.flags & SHF_EXECINSTR:
        return "t"
    if section.is_alloc and section.type != SHT_NOBITS:
        return "d" if section.flags & SHF_WRITE else "r"
    if section.type == SHT_NOBITS:
        return "b"
    return "n" if section.name.startswith(".debug") else "?"


def _is_core_symbol(symbol: Symbol, layout: ModuleLayout, percpu: Section | None) -> bool:
    index = symbol.section_index
    if index == SHN_UNDEF or not symbol.name:
        return False
    if percpu is not None and index == percpu.index:
        return True
    placed = layout.placed.get(index)
    return placed is not None and not placed.in_init


def _take_in_init(layout: ModuleLayout, section: Section) -> None:
    offset = module_get_offset(layout.init, section)
    layout.placed[section.index] = Placed(section, True, offset)


def _name_bytes(symbol: Symbol) -> bytes:
    return symbol.name.encode("ascii", "replace")


def _packed(elf: ElfObject, symbol: Symbol, name_offset: int, value: int) -> bytes:
    bind = _BINDS.index(symbol.bind) if symbol.bind in _BINDS else 0
    kind = _KINDS.index(symbol.kind) if symbol.kind in _KINDS else 0
    info = bind << 4 | kind
    if elf.arch == X86_64:
        fields = (name_offset, info, 0, symbol.section_index, value, symbol.size_bytes)
        return struct.pack("<IBBHQQ", *fields)
    return struct.pack(
        "<IIIBBH", name_offset, value, symbol.size_bytes, info, 0, symbol.section_index
    )
