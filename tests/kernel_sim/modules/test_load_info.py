from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.modules.load_info import read_load_info


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
