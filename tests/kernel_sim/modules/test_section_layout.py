"""The layout of real modules against what real kernels said of them in /proc/modules."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.modules.elf_headers import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_NOBITS,
    SHT_PROGBITS,
    Section,
)
from kernel_sim.modules.elf_object import parse_elf
from kernel_sim.modules.section_layout import find_writable_code, layout_sections

GOLDEN = Path(__file__).parents[2] / "golden" / "kernel-6.1"
PAGE = 4096
LETTERS = {"W": SHF_WRITE, "A": SHF_ALLOC, "X": SHF_EXECINSTR}


def flags_of(letters: str) -> int:
    return sum(value for letter, value in LETTERS.items() if letter in letters)


def section_rows(rows: list[Any]) -> list[Section]:
    return [
        Section(index, name, SHT_NOBITS if "NOBITS" in kind else SHT_PROGBITS, flags_of(flags), size, align)
        for index, (name, kind, size, align, flags) in enumerate(rows, 1)
    ]  # fmt: skip


def golden(name: str) -> list[dict[str, Any]]:
    lines = gzip.decompress((GOLDEN / name).read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]


def test_real_sections_leave_room_for_the_symbols_of_every_real_module() -> None:
    loaded = {row["module"]: row["loaded_size"] for row in golden("modules-loaded-layout.jsonl.gz")}
    nr_compared = nr_one_page = 0
    for row in golden("modules-layout.jsonl.gz"):
        layout = layout_sections(section_rows(row["sections"]), PAGE)
        real = loaded.get(row["module"].replace("-", "_"))
        if real is not None:
            nr_compared += 1
            # Symbols never came to more than half of what the sections take.
            assert PAGE <= real - layout.core.size_bytes <= layout.core.size_bytes / 2
            nr_one_page += real - layout.core.size_bytes == PAGE
    assert (nr_compared, nr_one_page) == (58, 16)


@pytest.mark.parametrize("field", ["text", "ro", "ro_after_init"])
def test_protections_change_at_pages_only(field: str) -> None:
    for row in golden("modules-layout.jsonl.gz"):
        layout = layout_sections(section_rows(row["sections"]), PAGE)
        assert getattr(layout.core, f"{field}_bytes") % PAGE == 0
        assert getattr(layout.init, f"{field}_bytes") % PAGE == 0


def test_parts_come_in_the_order_code_constants_ro_after_init_data() -> None:
    rows = [
        [".data", "PROGBITS", 8, 8, "WA"],
        ["__jump_table", "PROGBITS", 16, 8, "WA"],
        [".rodata", "PROGBITS", 24, 32, "A"],
        [".text", "PROGBITS", 100, 16, "AX"],
        [".init.text", "PROGBITS", 5, 1, "AX"],
        [".init.data", "PROGBITS", 5, 4, "WA"],
        [".exit.text", "PROGBITS", 6, 1, "AX"],
        [".bss", "NOBITS", 5000, 64, "WA"],
        [".comment", "PROGBITS", 5, 1, ""],
        [".modinfo", "PROGBITS", 50, 1, "A"],
        ["__versions", "PROGBITS", 64, 32, "A"],
        [".data..percpu", "PROGBITS", 64, 32, "WA"],
        [".note.Linux", "NOTE", 60, 4, "A"],
    ]
    layout = layout_sections(section_rows(rows), PAGE)
    core = {p.section.name: p.offset_bytes for p in layout.placed.values() if not p.in_init}
    init = {p.section.name: p.offset_bytes for p in layout.placed.values() if p.in_init}
    assert core == {
        ".text": 0, ".exit.text": 100, ".rodata": PAGE, ".note.Linux": PAGE + 24,
        "__jump_table": 2 * PAGE, ".data": 3 * PAGE, ".bss": 3 * PAGE + 64,
    }  # fmt: skip
    assert init == {".init.text": 0, ".init.data": PAGE}
    assert layout.core.size_bytes == 5 * PAGE
    assert (layout.core.text_bytes, layout.core.ro_bytes) == (PAGE, 2 * PAGE)
    assert layout.core.ro_after_init_bytes == 3 * PAGE
    assert layout.init.ro_after_init_bytes == layout.init.ro_bytes == PAGE
    assert layout.init.size_bytes == 2 * PAGE


def test_only_the_first_section_of_a_special_name_is_special() -> None:
    rows = [[".modinfo", "PROGBITS", 8, 1, "A"], [".modinfo", "PROGBITS", 8, 1, "A"]]
    assert list(layout_sections(section_rows(rows), PAGE).placed) == [2]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([".text", ".data", ".init.text", ".rodata", ".init.data"]),
            st.sampled_from(["A", "WA", "AX", "", "WAX"]),
            st.integers(0, 9000),
            st.sampled_from([0, 1, 2, 16, 4096, 8192]),
        ),
        max_size=12,
    )
)
def test_sections_are_aligned_and_never_overlap(rows: list[tuple[str, str, int, int]]) -> None:
    sections = section_rows(
        [[name, "PROGBITS", size, align, flags] for name, flags, size, align in rows]
    )
    layout = layout_sections(sections, PAGE)
    assert sorted(layout.placed) == [s.index for s in sections if s.is_alloc]
    for in_init, block in ((False, layout.core), (True, layout.init)):
        end = 0
        for placed in sorted(
            (p for p in layout.placed.values() if p.in_init == in_init),
            key=lambda p: (p.offset_bytes, p.offset_bytes + p.section.size_bytes),
        ):
            assert placed.offset_bytes >= end
            assert placed.offset_bytes % (placed.section.align or 1) == 0
            assert placed.section.name.startswith(".init") == in_init
            end = placed.offset_bytes + placed.section.size_bytes
        assert end <= block.size_bytes
        assert block.size_bytes % PAGE == 0


def test_code_that_can_be_written_is_found(make_image: Any) -> None:
    plain = parse_elf(make_image("plain"))
    assert find_writable_code(plain) is None
    image = bytearray(plain.image)
    text = plain.find_section(".text")
    assert text is not None
    table = int.from_bytes(image[40:48], "little")
    image[table + 64 * text.index + 8] |= SHF_WRITE
    found = find_writable_code(parse_elf(bytes(image)))
    assert found is not None and found.name == ".text"
