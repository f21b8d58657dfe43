"""A module that is nothing but its per-CPU section, as an object file that the simulated loader takes.

    ELF header │ section's bytes │ symbols │ names │ section names │ section headers
                 zeros             one per variable

What a workload knows of a module is the size of its section and how many variables are in it; whoever
loads this asks the per-CPU system for just that, by the way every module goes.
Source: the ELF specification; kernel_sim/modules/elf_headers.py reads it back.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kernel_sim.modules.elf_headers import (
    ELF_CLASSES,
    SHF_ALLOC,
    SHF_WRITE,
    SHT_NULL,
    SHT_PROGBITS,
    SHT_STRTAB,
    SHT_SYMTAB,
    ElfClass,
)

PERCPU_INDEX, SYMBOLS_INDEX, STRINGS_INDEX, NAMES_INDEX = 1, 2, 3, 4
IDENT_BYTES = 16
ET_REL, EV_CURRENT, LITTLE_ENDIAN = 1, 1, 1
LOCAL_OBJECT = 0 << 4 | 1  # STB_LOCAL, STT_OBJECT


class _Part(NamedTuple):
    name: str
    kind: int
    data: bytes
    flags: int = 0
    align: int = 1
    link: int = 0
    info: int = 0
    entry_bytes: int = 0


def section_object(arch: str, size_bytes: int, align_bytes: int, nr_variables: int) -> bytes:
    """Return an object whose only section that takes memory is .data..percpu.

    Its variables share it evenly, the last takes the rest.
    """
    kind = next(each for each in ELF_CLASSES if each.arch == arch)
    symbols, strings = _symbols(kind, size_bytes, nr_variables)
    parts: tuple[_Part, ...] = (
        _Part("", SHT_NULL, b"", align=0),
        _Part(
            ".data..percpu", SHT_PROGBITS, bytes(size_bytes), SHF_ALLOC | SHF_WRITE, align_bytes
        ),
        _Part(
            ".symtab", SHT_SYMTAB, symbols, align=kind.word_bytes, link=STRINGS_INDEX,
            info=nr_variables + 1, entry_bytes=kind.symbol_bytes,
        ),
        _Part(".strtab", SHT_STRTAB, strings),
        _Part(".shstrtab", SHT_STRTAB, b""),
    )  # fmt: skip
    names, name_at = _names(parts)
    parts = (*parts[:NAMES_INDEX], parts[NAMES_INDEX]._replace(data=names))
    return _assembled(kind, parts, name_at)


def _symbols(kind: ElfClass, size_bytes: int, nr_variables: int) -> tuple[bytes, bytes]:
    """Return the symbol table and its names."""
    strings = b"\0"
    table = bytes(kind.symbol_bytes)
    each_bytes = size_bytes // max(nr_variables, 1)
    for index in range(nr_variables):
        offset = index * each_bytes
        size = size_bytes - offset if index == nr_variables - 1 else each_bytes
        name = len(strings)
        strings += f"variable{index}".encode() + b"\0"
        if kind.word_bytes == 8:
            table += struct.pack("<IBBHQQ", name, LOCAL_OBJECT, 0, PERCPU_INDEX, offset, size)
        else:
            table += struct.pack("<IIIBBH", name, offset, size, LOCAL_OBJECT, 0, PERCPU_INDEX)
    return table, strings


def _names(parts: tuple[_Part, ...]) -> tuple[bytes, list[int]]:
    names, name_at = b"", []
    for part in parts:
        name_at.append(len(names))
        names += part.name.encode() + b"\0"
    return names, name_at


def _assembled(kind: ElfClass, parts: tuple[_Part, ...], name_at: list[int]) -> bytes:
    header_bytes = IDENT_BYTES + struct.calcsize(kind.header)
    body, headers = b"", b""
    for part, name in zip(parts, name_at, strict=True):
        offset = header_bytes + len(body) if part.kind != SHT_NULL else 0
        body += part.data
        headers += struct.pack(
            kind.section_header, name, part.kind, part.flags, 0, offset, len(part.data),
            part.link, part.info, part.align, part.entry_bytes,
        )  # fmt: skip
    entry_bytes = struct.calcsize(kind.section_header)
    ident = b"\x7fELF" + bytes((kind.elfclass, LITTLE_ENDIAN, EV_CURRENT))
    header = struct.pack(
        kind.header, ET_REL, kind.machine, EV_CURRENT, 0, 0, header_bytes + len(body), 0,
        header_bytes, 0, 0, entry_bytes, len(parts), NAMES_INDEX,
    )  # fmt: skip
    return ident.ljust(IDENT_BYTES, b"\0") + header + body + headers
