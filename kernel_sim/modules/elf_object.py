"""A relocatable object file as plain values: sections, symbols, relocations.

    bytes ──► elf_headers: every bound checked ──► pyelftools decodes the symbols ──► ElfObject

pyelftools is asked for single symbols only (its structs), never for a whole file: its own navigation
trusts the links in the file, and entry by entry it takes seconds for the relocations of a large module.
Relocations of sections that take no memory (debug information) are left out; the kernel does not apply
them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.structs import ELFStructs

from kernel_sim.modules.elf_headers import (
    SHF_ALLOC,
    SHN_ABS,
    SHN_COMMON,
    SHN_UNDEF,
    SHT_NOBITS,
    SHT_REL,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    SHT_SYMTAB_SHNDX,
    ElfClass,
    Section,
    read_headers,
    string_reader,
)
from kernel_sim.modules.errors import ModuleFormatError, format_error

_SPECIAL_SECTIONS = {"SHN_UNDEF": SHN_UNDEF, "SHN_ABS": SHN_ABS, "SHN_COMMON": SHN_COMMON}
PERCPU_SECTIONS = (".data..percpu", ".data.percpu")


_RELOCATION_LAYOUTS = {
    (8, True): ("<QQq", 32),
    (8, False): ("<QQ", 32),
    (4, True): ("<IIi", 8),
    (4, False): ("<II", 8),
}
"""struct format of an entry by word size and whether it has an addend; where r_info is divided."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol; section_index is that of its section, or SHN_UNDEF, SHN_ABS, SHN_COMMON.

    bind: local, global, weak …; kind: notype, object, func, section, file …
    """

    name: str
    value: int
    size_bytes: int
    bind: str
    kind: str
    section_index: int


@dataclass(frozen=True, slots=True)
class Relocation:
    """One place to mend: offset in the target section; addend is 0 where it lies in the place."""

    offset_bytes: int
    type: int
    symbol_index: int
    addend: int


@dataclass(frozen=True, slots=True)
class RelocationSection:
    """The relocations of one section; has_addends: RELA, else REL."""

    section: Section
    target_index: int
    has_addends: bool
    relocations: tuple[Relocation, ...]


@dataclass(frozen=True, slots=True)
class ElfObject:
    """A checked relocatable object. symbols[0] is the empty one; string_table holds their names."""

    arch: str
    elf_class: ElfClass
    image: bytes
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    symbol_table: Section
    string_table: Section
    relocation_sections: tuple[RelocationSection, ...]

    def data_of(self, section: Section) -> bytes:
        """Return the bytes of a section as they lie in the file; none for SHT_NOBITS."""
        if section.type == SHT_NOBITS:
            return b""
        return self.image[section.offset_bytes : section.offset_bytes + section.size_bytes]

    def find_section(self, name: str) -> Section | None:
        """Return the first section of this name that takes memory."""
        return find_section(self.sections, name)

    def find_percpu_section(self) -> Section | None:
        """Return the section of per-CPU variables."""
        return find_percpu_section(self.sections)


def find_section(sections: Sequence[Section], name: str) -> Section | None:
    """Return the first section of this name that takes memory. Source: find_sec(), Linux 6.1."""
    for section in sections:
        if section.is_alloc and section.name == name:
            return section
    return None


def find_percpu_section(sections: Sequence[Section]) -> Section | None:
    """Return the section of per-CPU variables: .data..percpu, or .data.percpu before 2010."""
    for name in PERCPU_SECTIONS:
        section = find_section(sections, name)
        if section is not None:
            return section
    return None


def parse_elf(image: bytes) -> ElfObject:
    """Return the object in these bytes. Raises ModuleFormatError, naming section and file offset."""
    elf_class, sections = read_headers(image)
    entries = _Entries(image, elf_class)
    symbol_table = _only_symbol_table(sections)
    string_table = sections[symbol_table.link]
    if string_table.type != SHT_STRTAB:
        raise format_error(
            symbol_table.where, symbol_table.offset_bytes,
            f"sh_link {symbol_table.link} is no string table",
        )  # fmt: skip
    symbols = _read_symbols(entries, symbol_table, string_reader(image, string_table), sections)
    relocation_sections = []
    for section in sections:
        if section.type in (SHT_REL, SHT_RELA):
            _check_relocation_links(section, symbol_table, sections)
            if sections[section.info].is_alloc:
                relocation_sections.append(
                    _read_relocations(entries, section, len(symbols), sections[section.info])
                )
    return ElfObject(
        elf_class.arch, elf_class, image, sections, symbols, symbol_table, string_table,
        tuple(relocation_sections),
    )  # fmt: skip


class _Entries:
    """pyelftools' decoder of table entries, with its many ways to fail made one."""

    def __init__(self, image: bytes, elf_class: ElfClass) -> None:
        self.image = image
        self.elf_class = elf_class
        self.structs = ELFStructs(little_endian=True, elfclass=32 * elf_class.elfclass)
        self.structs.create_basic_structs()
        self.structs.create_advanced_structs("ET_REL", elf_class.machine_name, "ELFOSABI_SYSV")

    def bounds(self, section: Section, entry_bytes: int) -> range:
        """Return the file offsets of a table's entries."""
        if section.entry_bytes != entry_bytes or section.size_bytes % entry_bytes:
            raise format_error(
                section.where, section.offset_bytes,
                f"{section.size_bytes} bytes in entries of {section.entry_bytes}: "
                f"expected entries of {entry_bytes}",
            )  # fmt: skip
        end = section.offset_bytes + section.size_bytes
        return range(section.offset_bytes, end, entry_bytes)

    def parse(self, section: Section, layout: Any, at: int, entry_bytes: int) -> Any:
        """Return one decoded entry."""
        try:
            return layout.parse(self.image[at : at + entry_bytes])
        except (ELFError, ConstructError, ValueError, KeyError, TypeError) as problem:
            raise format_error(section.where, at, f"entry cannot be decoded: {problem}") from None


def _only_symbol_table(sections: tuple[Section, ...]) -> Section:
    tables = [section for section in sections if section.type == SHT_SYMTAB]
    if not tables:
        raise ModuleFormatError("no section of type SHT_SYMTAB: module has no symbols (stripped?)")
    if len(tables) > 1:
        raise format_error(tables[1].where, tables[1].offset_bytes, "a second symbol table")
    for section in sections:
        if section.type == SHT_SYMTAB_SHNDX:
            raise format_error(section.where, section.offset_bytes, "too many sections")
    return tables[0]


def _read_symbols(
    entries: _Entries,
    table: Section,
    name_at: Callable[[int], str],
    sections: tuple[Section, ...],
) -> tuple[Symbol, ...]:
    entry_bytes = entries.elf_class.symbol_bytes
    layout = entries.structs.Elf_Sym
    symbols = []
    for at in entries.bounds(table, entry_bytes):
        entry = entries.parse(table, layout, at, entry_bytes)
        section_index = _SPECIAL_SECTIONS.get(entry["st_shndx"], entry["st_shndx"])
        name = name_at(entry["st_name"])
        if not isinstance(section_index, int) or (
            section_index not in (SHN_ABS, SHN_COMMON) and section_index >= len(sections)
        ):
            raise format_error(
                table.where, at,
                f"symbol {name} has an invalid section index {section_index} "
                f"(max {len(sections) - 1})",
            )  # fmt: skip
        if entry["st_value"] > _value_max(section_index, sections):
            raise format_error(
                table.where,
                at,
                f"symbol {name} at {entry['st_value']:#x} lies outside of its "
                f"{sections[section_index].where}",
            )
        symbols.append(
            Symbol(
                name, entry["st_value"], entry["st_size"],
                _short_name(entry["st_info"]["bind"]), _short_name(entry["st_info"]["type"]),
                section_index,
            )
        )  # fmt: skip
    if not symbols:
        raise format_error(table.where, table.offset_bytes, "not even the empty symbol")
    return tuple(symbols)


def _value_max(section_index: int, sections: tuple[Section, ...]) -> int:
    """Return the highest value a symbol may have: one of a section lies in it, or just behind it."""
    if section_index in (SHN_UNDEF, SHN_ABS, SHN_COMMON):
        return (1 << 64) - 1
    return sections[section_index].size_bytes


def _short_name(code: object) -> str:
    """Return local for STB_LOCAL, func for STT_FUNC; an unknown code stays a number."""
    return str(code).rpartition("_")[2].lower()


def _check_relocation_links(
    section: Section, symbol_table: Section, sections: tuple[Section, ...]
) -> None:
    if section.info >= len(sections) or sections[section.info].type in (SHT_REL, SHT_RELA):
        raise format_error(
            section.where, section.offset_bytes,
            f"sh_info {section.info} is no section that can be relocated",
        )  # fmt: skip
    if section.flags & SHF_ALLOC:
        raise format_error(section.where, section.offset_bytes, "relocations that take memory")
    if section.link != symbol_table.index:
        raise format_error(
            section.where, section.offset_bytes,
            f"sh_link {section.link}: expected the symbol table, {symbol_table.index}",
        )  # fmt: skip


def _read_relocations(
    entries: _Entries, section: Section, nr_symbols: int, target: Section
) -> RelocationSection:
    """Decode a table of relocations: by far the longest tables, so all of one at once."""
    has_addends = section.type == SHT_RELA
    kind = entries.elf_class
    layout, symbol_shift = _RELOCATION_LAYOUTS[kind.word_bytes, has_addends]
    places = entries.bounds(section, struct.calcsize(layout))
    type_mask = (1 << symbol_shift) - 1
    place_max = 0 if target.type == SHT_NOBITS else target.size_bytes
    relocations = []
    table = entries.image[section.offset_bytes : section.offset_bytes + section.size_bytes]
    for at, (offset, info, *addend) in zip(places, struct.iter_unpack(layout, table), strict=True):
        symbol_index = info >> symbol_shift
        if symbol_index >= nr_symbols:
            raise format_error(
                section.where, at, f"symbol {symbol_index}: expected one below {nr_symbols}"
            )
        if offset >= place_max:
            raise format_error(
                section.where,
                at,
                f"place {offset:#x} is outside of {target.name}, {target.size_bytes:#x} bytes",
            )
        number = addend[0] if has_addends else 0
        relocations.append(Relocation(offset, info & type_mask, symbol_index, number))
    return RelocationSection(section, section.info, has_addends, tuple(relocations))
