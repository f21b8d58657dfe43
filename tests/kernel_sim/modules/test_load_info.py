from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.modules.load_info import OFFSET_SECTION, read_load_info


def test_everything_is_known_before_anything_is_allocated(make_image: Any) -> None:
    text = "init: a = pcpu_alloc 8 8"
    info = read_load_info(make_image("counter"), "counter", text, arch="x86-64", page_size=4096)
    assert info.percpu is not None and info.percpu.name == ".data..percpu"
    assert info.is_plain_object
    assert info.values == [symbol.value for symbol in info.elf.symbols]
    assert info.find_symbol_size("init_module") == 24
    assert info.find_symbol_size("kernel_func") is None
    assert len(info.script.init) == 1
    assert not info.section_addrs


@pytest.mark.parametrize(
    ("name", "script", "arch", "text"),
    [
        ("counter", "", "i386", "Invalid architecture in ELF header: x86-64, this machine is i386"),
        ("bad name", "", "x86-64", "module name"),
        ("counter", "init: nonsense", "x86-64", "script line 1"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    make_image: Any, name: str, script: str, arch: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        read_load_info(make_image("counter"), name, script, arch=arch, page_size=4096)


def test_code_that_can_be_written_is_refused(make_image: Any) -> None:
    image = bytearray(make_image("plain"))
    table = int.from_bytes(image[40:48], "little")
    image[table + 64 + 8] |= 1
    with pytest.raises(ConfigError, match=r"section .text \(index 1\) has invalid WRITE\|EXEC"):
        read_load_info(bytes(image), "plain", "", arch="x86-64", page_size=4096)


def test_a_kernel_object_is_no_plain_one(make_image: Any) -> None:
    info = read_load_info(make_image("exporter"), "x", "", arch="x86-64", page_size=4096)
    assert not info.is_plain_object and info.modinfo.name == "exporter"


@pytest.mark.parametrize("arch, word", [("x86-64", 8), ("i386", 4)])
def test_a_pointer_for_every_per_cpu_variable_lies_among_the_modules_data(
    make_image: Any, arch: str, word: int
) -> None:
    image = make_image("counter", arch)
    info = read_load_info(image, "counter", "", arch=arch, page_size=4096, pointer_bytes=word)
    plain = read_load_info(image, "counter", "", arch=arch, page_size=4096)
    (placed,) = (p for p in info.layout.placed.values() if p.section.name == OFFSET_SECTION)
    assert placed.section.size_bytes == info.nr_percpu_variables * word > 0
    assert not placed.in_init and placed.offset_bytes % word == 0
    assert placed.offset_bytes >= info.layout.core.ro_after_init_bytes
    (bss,) = (p for p in info.layout.placed.values() if p.section.name == ".bss")
    assert placed.offset_bytes < bss.offset_bytes, "as in a linked module"
    assert OFFSET_SECTION not in [p.section.name for p in plain.layout.placed.values()]


def test_who_has_no_per_cpu_variable_has_no_pointers(make_image: Any) -> None:
    info = read_load_info(
        make_image("plain"), "plain", "", arch="x86-64", page_size=4096, pointer_bytes=8
    )
    assert info.elf.find_percpu_section() is None
    assert OFFSET_SECTION not in [p.section.name for p in info.layout.placed.values()]
