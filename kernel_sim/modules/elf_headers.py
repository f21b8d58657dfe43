"""The frame of a relocatable object, checked field by field before anything else is read.

    ELF header ──► section headers ──► section names          what lies in a section: elf_object.py

    e_ident      class 64 (x86-64) or 32 (i386), little-endian, version 1
    e_type       ET_REL: nothing else can be loaded as a module
    sh_offset    + sh_size lies inside the file; all sections together are no longer than the file
    SHT_NOBITS   has no bytes in the file, so its size is bounded by a limit of ours

So whoever reads on needs no memory beyond a small multiple of the file. The checks of the kernel are among
these: Source: kernel/module/main.c, Linux 6.1: elf_validity_check().
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from kernel_sim.alignment import is_power_of_two
from kernel_sim.modules.errors import ModuleFormatError, format_error

IMAGE_BYTES_MAX = 64 << 20
NOBITS_BYTES_MAX = 64 << 20
ALIGN_MAX = 1 << 20
NAME_BYTES_MAX = 511
"""Longest name of a section or symbol: KSYM_NAME_LEN of Linux 6.1 without the final NUL."""

X86_64 = "x86-64"
I386 = "i386"

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA = 0, 1, 2, 3, 4
SHT_NOTE, SHT_NOBITS, SHT_REL = 7, 8, 9
SHT_SYMTAB_SHNDX = 18
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 0x1, 0x2, 0x4
SHF_COMPRESSED = 0x800
SHN_UNDEF, SHN_ABS, SHN_COMMON = 0, 0xFFF1, 0xFFF2

_IDENT_BYTES = 16
_ET_REL = 1


@dataclass(frozen=True, slots=True)
class ElfClass:
    """Sizes and codes of one of the two kinds of objects we know; entry sizes in bytes."""

    arch: str
    elfclass: int  # 1: 32 bits, 2: 64 bits
    machine: int
    machine_name: str
    header: str  # struct formats
    section_header: str
    symbol_bytes: int
    word_bytes: int


ELF_CLASSES = (
    ElfClass(X86_64, 2, 62, "EM_X86_64", "<HHIQQQIHHHHHH", "<IIQQQQIIQQ", 24, 8),
    ElfClass(I386, 1, 3, "EM_386", "<HHIIIIIHHHHHH", "<IIIIIIIIII", 16, 4),
)


@dataclass(frozen=True, slots=True)
class Section:
    """One section header; offset is in the file, sizes in bytes, align a power of two or 0."""

    index: int
    name: str
    type: int
    flags: int
    size_bytes: int
    align: int
    offset_bytes: int = 0
    link: int = 0
    info: int = 0
    entry_bytes: int = 0

    @property
    def where(self) -> str:
        """How a message names this section."""
        return f"section [{self.index}] {self.name or '(no name)'}"

    @property
    def is_alloc(self) -> bool:
        """Whether the section takes memory in the loaded module."""
        return bool(self.flags & SHF_ALLOC)


@dataclass(frozen=True, slots=True)
class _Header:
    elf_class: ElfClass
    table_offset: int
    nr_sections: int
    names_index: int


def read_headers(image: bytes) -> tuple[ElfClass, tuple[Section, ...]]:
    """Return the kind of object and its section headers, all in bounds. Raises ModuleFormatError."""
    header = _read_header(image)
    raw = [_read_section(image, header, index) for index in range(header.nr_sections)]
    names = raw[header.names_index]
    if names.type == SHT_NULL or names.type == SHT_NOBITS or names.size_bytes == 0:
        raise format_error(names.where, names.offset_bytes, "empty section name table")
    if image[names.offset_bytes + names.size_bytes - 1] != 0:
        raise format_error(
            names.where, names.offset_bytes, "section name table isn't null terminated"
        )
    name_at = string_reader(image, names)
    sections = tuple(replace(section, name=name_at(int(section.name))) for section in raw)
    _check_sums(image, sections)
    return header.elf_class, sections


def string_reader(image: bytes, table: Section) -> Callable[[int], str]:
    """Return a function from an offset in a string table to the text there.

    It raises ModuleFormatError for an offset outside, and for a name without end or longer than
    NAME_BYTES_MAX.
    """
    start, end = table.offset_bytes, table.offset_bytes + table.size_bytes
    known: dict[int, str] = {}

    def string_at(offset: int) -> str:
        if offset in known:
            return known[offset]
        at = start + offset
        if at >= end:
            raise format_error(
                table.where, start, f"name at {offset:#x} is outside of {table.size_bytes} bytes"
            )
        stop = image.find(b"\0", at, min(end, at + NAME_BYTES_MAX + 1))
        if stop < 0:
            raise format_error(table.where, at, f"a name has no end within {NAME_BYTES_MAX} bytes")
        known[offset] = image[at:stop].decode("ascii", "backslashreplace")
        return known[offset]

    return string_at


def _read_header(image: bytes) -> _Header:
    if len(image) > IMAGE_BYTES_MAX:
        raise ModuleFormatError(
            f"ELF header: the file has {len(image)} bytes, more than {IMAGE_BYTES_MAX}"
        )
    if len(image) < _IDENT_BYTES or image[:4] != b"\x7fELF":
        raise format_error("ELF header", 0, "no ELF magic: this is no object file")
    elf_class = next((kind for kind in ELF_CLASSES if kind.elfclass == image[4]), None)
    if elf_class is None:
        raise format_error("ELF header", 4, f"class {image[4]}: expected 1 or 2")
    if image[5] != 1 or image[6] != 1:
        raise format_error(
            "ELF header", 5, f"byte order {image[5]}, version {image[6]}: expected 1, 1"
        )
    header_bytes = _IDENT_BYTES + struct.calcsize(elf_class.header)
    if len(image) < header_bytes:
        raise format_error("ELF header", len(image), f"cut off, expected {header_bytes} bytes")
    fields = struct.unpack_from(elf_class.header, image, _IDENT_BYTES)
    file_type, machine, table_offset = fields[0], fields[1], fields[5]
    entry_bytes, nr_sections, names_index = fields[10], fields[11], fields[12]
    if file_type != _ET_REL:
        raise format_error("ELF header", 16, f"type {file_type}: expected 1 (relocatable)")
    if machine != elf_class.machine:
        raise format_error(
            "ELF header", 18, f"machine {machine}: expected {elf_class.machine} ({elf_class.arch})"
        )
    expected_bytes = struct.calcsize(elf_class.section_header)
    if entry_bytes != expected_bytes:
        raise format_error(
            "ELF header", header_bytes - 6,
            f"section headers of {entry_bytes} bytes: expected {expected_bytes}",
        )  # fmt: skip
    if table_offset + nr_sections * entry_bytes > len(image):
        raise format_error(
            "section headers", table_offset,
            f"{nr_sections} headers reach beyond the file's {len(image)} bytes",
        )  # fmt: skip
    if not 0 < names_index < nr_sections:
        raise format_error(
            "ELF header", header_bytes - 2,
            f"section name index {names_index}: expected 1 to {nr_sections - 1}",
        )  # fmt: skip
    return _Header(elf_class, table_offset, nr_sections, names_index)


def _read_section(image: bytes, header: _Header, index: int) -> Section:
    layout = header.elf_class.section_header
    header_offset = header.table_offset + index * struct.calcsize(layout)
    name, kind, flags, addr, offset, size, link, info, align, entry = struct.unpack_from(
        layout, image, header_offset
    )
    # The name is still an offset: the table it points into is a section itself.
    section = Section(index, str(name), kind, flags, size, align, offset, link, info, entry)
    where = f"section [{index}]"
    if index == 0:
        if kind != SHT_NULL or size != 0 or addr != 0:
            raise format_error(where, header_offset, "section 0 is not empty")
        return section
    if kind == SHT_NULL:
        return replace(section, size_bytes=0, flags=0)
    if flags & SHF_COMPRESSED:
        raise format_error(where, header_offset, "compressed sections cannot be loaded")
    if align and (not is_power_of_two(align) or align > ALIGN_MAX):
        raise format_error(
            where,
            header_offset,
            f"alignment {align:#x}: expected a power of two up to {ALIGN_MAX:#x}",
        )
    if kind != SHT_NOBITS and offset + size > len(image):
        raise format_error(
            where, header_offset,
            f"{size:#x} bytes at {offset:#x} reach beyond the file's {len(image):#x}",
        )  # fmt: skip
    if link >= header.nr_sections:
        raise format_error(
            where, header_offset, f"sh_link {link}: expected a section below {header.nr_sections}"
        )
    return section


def _check_sums(image: bytes, sections: tuple[Section, ...]) -> None:
    stored_bytes = zero_bytes = 0
    for section in sections:
        if section.type == SHT_NOBITS:
            zero_bytes += section.size_bytes
        else:
            stored_bytes += section.size_bytes
        if zero_bytes > NOBITS_BYTES_MAX:
            raise format_error(
                section.where, section.offset_bytes,
                f"{zero_bytes:#x} bytes without contents, more than {NOBITS_BYTES_MAX:#x}",
            )  # fmt: skip
        if stored_bytes > len(image):
            raise format_error(
                section.where,
                section.offset_bytes,
                "sections overlap: together longer than the file",
            )
