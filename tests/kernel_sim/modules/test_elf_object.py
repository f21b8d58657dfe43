"""Parsing: against pyelftools' own navigation, and hostile input of every kind."""

from __future__ import annotations

import io
import struct
import tracemalloc
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel_sim.modules.elf_object import parse_elf
from kernel_sim.modules.errors import ModuleFormatError

NAMES = ("counter", "reader", "plain", "wide", "exporter", "common", "far")


@pytest.mark.parametrize("arch", ["x86-64", "i386"])
@pytest.mark.parametrize("name", NAMES)
def test_parsing_agrees_with_pyelftools(make_image: Any, name: str, arch: str) -> None:
    image = make_image(name, arch)
    ours, theirs = parse_elf(image), ELFFile(io.BytesIO(image))
    assert [s.name for s in ours.sections] == [s.name for s in theirs.iter_sections()]
    for mine, section in zip(ours.sections, theirs.iter_sections(), strict=True):
        assert (mine.size_bytes, mine.align, mine.flags) == (
            section["sh_size"], section["sh_addralign"], section["sh_flags"],
        )  # fmt: skip
        if mine.type not in (0, 8):
            assert ours.data_of(mine) == section.data()
    symtab = theirs.get_section_by_name(".symtab")
    assert [(s.name, s.value, s.size_bytes) for s in ours.symbols] == [
        ((s.entry["st_name"] and symtab.stringtable.get_string(s.entry["st_name"])) or "",
         s["st_value"], s["st_size"])
        for s in symtab.iter_symbols()
    ]  # fmt: skip
    for part in ours.relocation_sections:
        section = theirs.get_section(part.section.index)
        assert isinstance(section, RelocationSection)
        assert [(r.offset_bytes, r.type, r.symbol_index) for r in part.relocations] == [
            (r["r_offset"], r["r_info_type"], r["r_info_sym"]) for r in section.iter_relocations()
        ]


def test_symbols_carry_their_binding_and_section(make_image: Any) -> None:
    elf = parse_elf(make_image("reader"))
    symbols = {symbol.name: symbol for symbol in elf.symbols}
    assert symbols["optional_func"].bind == "weak"
    assert symbols["optional_func"].section_index == 0
    assert (symbols["reader_bytes"].bind, symbols["reader_bytes"].kind) == ("local", "object")
    assert (symbols["reader_read"].bind, symbols["reader_read"].kind) == ("global", "func")
    percpu = elf.find_percpu_section()
    assert percpu is not None and symbols["reader_bytes"].section_index == percpu.index
    common = {symbol.name: symbol for symbol in parse_elf(make_image("common")).symbols}
    assert common["common_value"].section_index == 0xFFF2


def test_the_old_name_of_the_per_cpu_section_is_known(make_image: Any) -> None:
    image = make_image("reader").replace(b".data..percpu\0", b".data.percpu\0\0")
    section = parse_elf(image).find_percpu_section()
    assert section is not None and section.name == ".data.percpu"
    assert parse_elf(make_image("plain")).find_percpu_section() is None


def header_field(image: bytes, name: str, field: int) -> int:
    section = next(s for s in parse_elf(image).sections if s.name == name)
    return int.from_bytes(image[40:48], "little") + 64 * section.index + field


@pytest.mark.parametrize(
    ("section", "field", "data", "text"),
    [
        (".symtab", 40, b"\1\0\0\0", "is no string table"),
        (".symtab", 4, b"\1\0\0\0", "module has no symbols"),
        (".symtab", 56, b"\x17", "expected entries of 24"),
        (".symtab", 32, b"\x19\0", "expected entries of 24"),
        (".symtab", 32, b"\0\0", "not even the empty symbol"),
        (".strtab", 4, b"\1\0\0\0", "is no string table"),
        (".strtab", 32, b"\1\0", "is outside of 1 bytes"),
        (".rela.text", 44, b"\xff\0\0\0", "sh_info 255 is no section"),
        (".rela.text", 40, b"\1\0\0\0", "expected the symbol table"),
        (".rela.text", 56, b"\x10", "expected entries of 24"),
        (".rela.text", 8, b"\2", "relocations that take memory"),
    ],
)
def test_tables_that_do_not_hold_together_are_refused(
    make_image: Any, section: str, field: int, data: bytes, text: str
) -> None:
    image = make_image("counter")
    at = header_field(image, section, field)
    with pytest.raises(ModuleFormatError, match=text):
        parse_elf(image[:at] + data + image[at + len(data) :])


@pytest.mark.parametrize(
    ("field", "data", "text"),
    [
        (0, struct.pack("<Q", 1 << 40), "place 0x10000000000 is outside of .text"),
        (12, struct.pack("<I", 9999), "symbol 9999: expected one below"),
    ],
)
def test_relocations_that_point_nowhere_are_refused(
    make_image: Any, field: int, data: bytes, text: str
) -> None:
    image = make_image("counter")
    section = next(s for s in parse_elf(image).sections if s.name == ".rela.text")
    at = section.offset_bytes + field
    with pytest.raises(ModuleFormatError, match=text) as caught:
        parse_elf(image[:at] + data + image[at + len(data) :])
    assert f"section [{section.index}] .rela.text, file offset {section.offset_bytes:#x}" in str(
        caught.value
    )


def test_a_symbol_of_a_section_that_is_not_there_is_refused(make_image: Any) -> None:
    image = make_image("plain")
    table = parse_elf(image).symbol_table
    at = table.offset_bytes + 24 + 6
    with pytest.raises(ModuleFormatError, match="invalid section index 65280"):
        parse_elf(image[:at] + b"\0\xff" + image[at + 2 :])


def test_a_symbol_outside_of_its_section_is_refused(make_image: Any) -> None:
    image = make_image("reader")
    elf = parse_elf(image)
    index = [symbol.name for symbol in elf.symbols].index("reader_bytes")
    at = elf.symbol_table.offset_bytes + 24 * index + 8
    with pytest.raises(ModuleFormatError, match=r"symbol reader_bytes at 0x4 lies outside of its"):
        parse_elf(image[:at] + b"\4" + image[at + 1 :])
    parse_elf(image[:at] + b"\3" + image[at + 1 :])


def parse_or_refuse(image: bytes) -> None:
    try:
        elf = parse_elf(image)
    except ModuleFormatError as problem:
        assert str(problem)
        return
    assert sum(len(elf.data_of(section)) for section in elf.sections) <= len(image)
    assert sum(len(part.relocations) for part in elf.relocation_sections) * 8 <= len(image)


def test_memory_is_a_small_multiple_of_the_file() -> None:
    """The worst file we know: half of it one string table without pauses, half of it symbols."""
    nr_symbols = 2000
    names = b"\0" + (b"x" * 510 + b"\0") * 90
    symbols = bytes(24) + b"".join(
        struct.pack("<IBBHQQ", 1 + 20 * i % (len(names) - 600), 0, 0, 0xFFF1, 0, 0)
        for i in range(nr_symbols)
    )
    section_names = b"\0s\0"
    strings_at = 64 + len(symbols)
    tables_at = strings_at + len(names) + len(section_names)
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, tables_at, 0, 64, 0, 0, 64, 4, 3)
    rows = [
        (0,) * 10,
        (1, 2, 0, 0, 64, len(symbols), 2, 0, 8, 24),
        (1, 3, 0, 0, strings_at, len(names), 0, 0, 1, 0),
        (1, 3, 0, 0, strings_at + len(names), len(section_names), 0, 0, 1, 0),
    ]
    tables = b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)
    image = header + symbols + names + section_names + tables
    tracemalloc.start()
    try:
        elf = parse_elf(image)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(elf.symbols) == nr_symbols + 1
    assert max(len(symbol.name) for symbol in elf.symbols) > 400
    assert peak_bytes < 30 * len(image)


MUTATIONS = st.lists(
    st.tuples(st.integers(0, 1 << 14), st.binary(min_size=1, max_size=8)), max_size=4
)


def mutated(image: bytes, length: int, changes: list[tuple[int, bytes]]) -> bytes:
    data = bytearray(image[: length % (len(image) + 1)])
    for at, new in changes:
        if data:
            start = at % len(data)
            data[start : start + len(new)] = new[: len(data) - start]
    return bytes(data)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(NAMES[:5]), st.sampled_from(["x86-64", "i386"]), st.data())
def test_a_mutated_object_is_read_or_refused(
    make_image: Any, name: str, arch: str, data: Any
) -> None:
    image = make_image(name, arch)
    length = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))))
    parse_or_refuse(mutated(image, length, data.draw(MUTATIONS)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_headers_are_read_or_refused(make_image: Any, data: Any) -> None:
    """Single fields of the header table, with the values that hurt most."""
    image = make_image("exporter")
    nr_sections = struct.unpack_from("<H", image, 60)[0]
    start = int.from_bytes(image[40:48], "little")
    field, width = data.draw(
        st.sampled_from(
            [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)]
        )
    )
    at = start + 64 * data.draw(st.integers(0, nr_sections - 1)) + field
    top = (1 << 8 * width) - 1
    value = data.draw(
        st.one_of(st.sampled_from([0, 1, 3, top, top >> 1, len(image)]), st.integers(0, top))
    )
    parse_or_refuse(image[:at] + value.to_bytes(width, "little") + image[at + width :])


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x7fELF")
@example(b"\x7fELF\x02\x01\x01")
def test_anything_is_read_or_refused(image: bytes) -> None:
    parse_or_refuse(image)


@pytest.mark.slow
@settings(max_examples=6_000, deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from(["x86-64", "i386"]), st.data())
def test_a_long_campaign_of_mutations(make_image: Any, name: str, arch: str, data: Any) -> None:
    image = make_image(name, arch)
    length = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))))
    parse_or_refuse(mutated(image, length, data.draw(MUTATIONS)))
