"""The objects that stand for modules of a workload: what the loader's own reader finds in them."""

from __future__ import annotations

import io

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.modules.elf_object import parse_elf
from kernel_sim.modules.load_info import read_load_info
from snapshots.compare.section_object import section_object

ARCHES = ("x86-64", "i386")


@given(
    st.sampled_from(ARCHES),
    st.integers(0, 3000),
    st.integers(0, 12).map(lambda shift: 1 << shift),
    st.integers(0, 20),
)
def test_the_loader_reads_back_what_was_asked(
    arch: str, size: int, align: int, nr_variables: int
) -> None:
    elf = parse_elf(section_object(arch, size, align, nr_variables))
    section = elf.find_percpu_section()
    assert section is not None
    assert (elf.arch, section.size_bytes, section.align) == (arch, size, align)
    assert elf.data_of(section) == bytes(size)
    variables = [symbol for symbol in elf.symbols if symbol.section_index == section.index]
    assert len(variables) == nr_variables
    assert sum(symbol.size_bytes for symbol in variables) == (size if nr_variables else 0)
    ends = [symbol.value + symbol.size_bytes for symbol in variables]
    assert [symbol.value for symbol in variables] == [0, *ends][:nr_variables]


@pytest.mark.parametrize("arch", ARCHES)
def test_another_reader_agrees(arch: str) -> None:
    elf = ELFFile(io.BytesIO(section_object(arch, 100, 32, 3)))
    section = elf.get_section_by_name(".data..percpu")
    assert (section["sh_size"], section["sh_addralign"]) == (100, 32)
    symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
    assert [symbol.name for symbol in symbols] == ["", "variable0", "variable1", "variable2"]
    assert [symbol["st_size"] for symbol in symbols] == [0, 33, 33, 34]


@pytest.mark.parametrize("arch", ARCHES)
def test_nothing_but_the_section_takes_memory(arch: str) -> None:
    info = read_load_info(section_object(arch, 64, 8, 2), "m", "", arch=arch, page_size=4096)
    assert [section.name for section in info.elf.sections if section.is_alloc] == [".data..percpu"]
    assert info.modinfo.name == "m"
