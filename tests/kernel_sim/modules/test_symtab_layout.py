"""The room that symbols take: with it, the size of every real module comes out to the byte."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

from kernel_sim.modules.elf_headers import (
    ELF_CLASSES,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    SHT_PROGBITS,
    Section,
)
from kernel_sim.modules.elf_object import ElfObject, Symbol, parse_elf
from kernel_sim.modules.load_info import read_load_info
from kernel_sim.modules.section_layout import layout_sections
from kernel_sim.modules.symtab_layout import core_symtab_bytes, layout_symtab, type_letter

GOLDEN = Path(__file__).parents[2] / "golden" / "kernel-6.1"
PAGE = 4096


def golden_object(row: dict[str, Any]) -> ElfObject:
    """Return an object with the row's sections, and symbols whose names have the row's lengths."""
    letters = {"W": SHF_WRITE, "A": SHF_ALLOC, "X": SHF_EXECINSTR}
    sections = [Section(0, "", 0, 0, 0, 0)] + [
        Section(
            index, name, SHT_NOBITS if kind == "NOBITS" else SHT_PROGBITS,
            sum(value for letter, value in letters.items() if letter in flags), size, align,
        )
        for index, (name, kind, size, align, flags) in enumerate(row["sections"], 1)
    ]  # fmt: skip
    symbols = [Symbol("", 0, 0, "local", "notype", 0)]
    for index, count, name_bytes in row["symbols"]:
        names = ["x"] * (count - 1) + ["x" * (name_bytes - count + 1)]
        symbols += [Symbol(name, 0, 0, "local", "notype", index) for name in names]
    by_name = {section.name: section for section in sections}
    return ElfObject(
        "x86-64", ELF_CLASSES[0], b"", tuple(sections), tuple(symbols), by_name[".symtab"],
        by_name[".strtab"], (),
    )  # fmt: skip


def test_the_size_of_every_real_module_is_exact() -> None:
    lines = gzip.decompress((GOLDEN / "modules-loaded-layout.jsonl.gz").read_bytes()).splitlines()
    wrong = {}
    for line in lines:
        row = json.loads(line)
        elf = golden_object(row)
        layout = layout_sections(elf.sections, PAGE)
        layout_symtab(elf, layout, PAGE)
        if layout.core.size_bytes != row["loaded_size"]:
            wrong[row["module"]] = (layout.core.size_bytes, row["loaded_size"])
    assert not wrong
    assert len(lines) == 175


def test_lasting_symbols_are_those_of_core_and_the_per_cpu_ones(make_image: Any) -> None:
    info = read_load_info(make_image("counter"), "counter", "", arch="x86-64", page_size=PAGE)
    names = [info.elf.symbols[index].name for index in info.symtab.core_symbols]
    assert names[0] == ""
    assert sorted(names[1:]) == [
        "cleanup_module", "counter_bump", "counter_global", "counter_name", "counter_names",
        "counter_pair", "counter_table", "counter_where", "counter_zero",
    ]  # fmt: skip
    layout = info.layout
    assert layout.placed[info.elf.symbol_table.index].in_init
    assert layout.placed[info.elf.string_table.index].in_init
    assert info.symtab.types_offset + len(names) <= layout.core.size_bytes


def test_the_symbols_in_core_can_be_read_as_elf_entries(make_image: Any) -> None:
    for arch, layout, at in (("x86-64", "<IBBHQQ", 4), ("i386", "<IIIBBH", 1)):
        info = read_load_info(make_image("counter", arch), "counter", "", arch=arch, page_size=PAGE)
        values = list(range(1000, 1000 + len(info.elf.symbols)))
        symbols, names, types = core_symtab_bytes(info.elf, info.symtab, values)
        entries = list(struct.iter_unpack(layout, symbols))
        assert len(entries) == len(info.symtab.core_symbols) == len(types)
        for index, entry in zip(info.symtab.core_symbols, entries, strict=True):
            name = names[entry[0] : names.index(b"\0", entry[0])].decode()
            assert name == info.elf.symbols[index].name
            assert entry[at] == 1000 + index
        assert info.symtab.types_offset - info.symtab.strings_offset == len(names)


def test_letters_are_those_of_kallsyms(make_image: Any) -> None:
    elf = parse_elf(make_image("counter"))
    percpu = elf.find_percpu_section()
    letters = {
        symbol.name: type_letter(elf, symbol, percpu) for symbol in elf.symbols if symbol.name
    }
    assert letters["counter_bump"] == "t"
    assert letters["counter_table"] == "d"
    assert letters["counter_zero"] == "b"
    assert letters["counter_name"] == "r"
    assert letters["counter_global"] == "a"
    assert letters["kernel_func"] == "U"
    weak = parse_elf(make_image("reader"))
    optional = next(symbol for symbol in weak.symbols if symbol.name == "optional_func")
    assert type_letter(weak, optional, None) == "w"
