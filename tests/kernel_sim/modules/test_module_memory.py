from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.modules.elf_object import Relocation, parse_elf
from kernel_sim.modules.relocate_x86_64 import apply_relocate_add
from kernel_sim.modules.relocation import LoadedBytes

PAGE = 4096


def test_sections_lie_where_the_layout_says_with_the_files_bytes(bench: Any) -> None:
    assert bench.load("counter") == 0
    mod = bench.loader.modules[0]
    assert bench.host.blocks == {mod.core_addr: mod.core_size_bytes}
    names = {at.name: at.addr - mod.core_addr for at in mod.sections}
    assert names[".text"] == 0 and names[".exit.text"] < PAGE
    assert PAGE <= names[".rodata.str1.1"] < names[".rodata"] < 2 * PAGE
    assert 2 * PAGE <= names[".data"] < names[".bss"] < 3 * PAGE
    assert ".init.text" not in names and ".symtab" not in names
    assert bench.section("counter", ".rodata.str1.1") == b"other\0"
    assert bench.section("counter", ".bss") == bytes(256)


def test_every_cpu_gets_the_initial_image(any_bench: Any) -> None:
    assert any_bench.load("reader") == -2  # needs counter
    assert any_bench.load("counter") == any_bench.load("reader") == 0
    mod = any_bench.loader.find_module("reader")
    for cpu in any_bench.host.possible_cpus:
        addr = any_bench.host.per_cpu_addr(mod.percpu_ptr, cpu)
        assert any_bench.host.read(0, addr, 3) == b"\1\2\3"


def test_the_per_cpu_section_is_asked_for_in_the_reserved_part(bench: Any) -> None:
    assert bench.load("counter") == 0
    mod = bench.loader.modules[0]
    assert bench.host.areas == {0x35000: (20, 32, True, GFP_KERNEL, "load_module+0xf48/0x21a0")}
    assert (mod.percpu_ptr, mod.percpu_size_bytes, mod.percpu_align) == (0x35000, 20, 32)
    offsets = {symbol.name: symbol.value - mod.percpu_ptr for symbol in mod.percpu_symbols}
    assert offsets == {"counter_pair": 0, "counter_global": 16}


def test_alignment_above_a_page_is_clamped(bench: Any) -> None:
    assert bench.load("wide") == 0
    assert bench.host.log == [(4, "wide: per-cpu alignment 8192 > 4096")]
    assert bench.loader.modules[0].percpu_align == PAGE


def test_no_per_cpu_memory_is_told_in_the_kernels_words(make_bench: Any) -> None:
    bench = make_bench(fail_at=2)
    assert bench.load("counter") == -12
    assert bench.host.log == [(4, "counter: Could not allocate 20 bytes percpu data")]
    assert bench.host.is_clean()


def test_pages_are_protected_by_what_is_on_them(bench: Any) -> None:
    assert bench.load("counter") == 0
    core = bench.loader.modules[0].core_addr
    kinds = [bench.host.protections[core + page * PAGE] for page in range(4)]
    assert kinds == ["ro+x", "ro", "rw+nx", "rw+nx"]


def test_relocations_of_the_per_cpu_section_are_passed_over(make_image: Any, bench: Any) -> None:
    """As in the kernel: the section takes no memory of the module, so nothing mends it."""
    image = bytearray(make_image("counter"))
    elf = parse_elf(bytes(image))
    part = next(p for p in elf.relocation_sections if p.section.name == ".rela.data")
    percpu = elf.find_percpu_section()
    assert percpu is not None
    header = int.from_bytes(image[40:48], "little") + 64 * part.section.index
    image[header + 44] = percpu.index
    first = part.section.offset_bytes
    image[first : first + 8] = bytes(8)
    image[first + 24 : first + 32] = bytes(8)
    assert bench.load("counter", "", bytes(image)) == 0
    addr = bench.host.per_cpu_addr(bench.loader.modules[0].percpu_ptr, 1)
    assert bench.host.read(0, addr, 16) == (1).to_bytes(8, "little") + (2).to_bytes(8, "little")


@pytest.mark.parametrize(("arch", "other"), [("x86-64", "REL"), ("i386", "RELA")])
def test_the_other_kind_of_relocations_is_refused(
    make_bench: Any, make_image: Any, arch: str, other: str
) -> None:
    """A section of no entries is enough: the kernel asks for the kind first."""
    image = bytearray(make_image("counter", arch))
    elf = parse_elf(bytes(image))
    is_64 = arch == "x86-64"
    table = int.from_bytes(image[40:48] if is_64 else image[32:36], "little")
    for part in elf.relocation_sections:
        header = table + (64 if is_64 else 40) * part.section.index
        image[header + 4] = 9 if is_64 else 4
        size_at, entry_at = (32, 56) if is_64 else (20, 36)
        image[header + size_at] = image[header + size_at + 1] = 0
        image[header + entry_at] = 16 if is_64 else 12
    bench = make_bench(arch)
    assert bench.load("counter", "", bytes(image)) == -8
    assert bench.host.texts() == [f"module counter: {other} relocation unsupported"]
    assert bench.host.is_clean()


def test_the_symbols_in_core_have_their_final_values(bench: Any) -> None:
    assert bench.load("counter") == 0
    mod = bench.loader.modules[0]
    core = bench.host.read(0, mod.core_addr, mod.core_size_bytes)
    assert b"\0counter_global\0" in core
    for symbol in mod.symbols:
        assert symbol.value.to_bytes(8, "little") in core


def test_give_back_is_in_the_kernels_order(bench: Any) -> None:
    assert bench.load("counter") == 0
    mod = bench.loader.modules[0]
    core, ptr = mod.core_addr, mod.percpu_ptr
    bench.host.order.clear()
    assert bench.delete("counter") == 0
    assert bench.host.order == [f"free_percpu {ptr:x}", f"memfree {core:x}"]


def test_every_real_per_cpu_reference_reaches_the_reserved_part() -> None:
    """The 31 modules of Debian's 6.1 kernel that have per-CPU sections, each at the worst place."""
    names = {"R_X86_64_64": 1, "R_X86_64_PC32": 2, "R_X86_64_32S": 11}
    path = Path(__file__).parents[2] / "golden" / "kernel-6.1" / "modules-percpu.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert len(rows) == 31
    for row in rows:
        assert row["relocs_inside_section"] == 0  # the kernel would not do them
        for reserved_end in (0x35000 + row["size"], 0x35000 + 8192):
            values = [reserved_end - row["size"] + s["offset"] for s in row["symbols"]]
            for place in (0xFFFFFFFFC0000000, 0xFFFFFFFFFEFFF000):
                for name in row["reloc_types"]:
                    relocations = [
                        Relocation(8 * i, names[name], i, -4) for i in range(len(values))
                    ]
                    target = LoadedBytes(place, bytearray(8 * len(values)), row["module"])
                    assert apply_relocate_add(target, relocations, values) is None
                    _check_reached(target, name, values)
    assert sum(row["size"] for row in rows) < 8192


def _check_reached(target: LoadedBytes, name: str, values: list[int]) -> None:
    width = 8 if name == "R_X86_64_64" else 4
    for i, value in enumerate(values):
        written = int.from_bytes(target.data[8 * i : 8 * i + width], "little", signed=True)
        reached = written + (target.addr + 8 * i if name == "R_X86_64_PC32" else 0)
        assert reached % (1 << 64) == (value - 4) % (1 << 64)
