"""Relocated bytes of real objects, against what GNU ld makes of the same objects at the same places."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kernel_sim.modules.elf_object import Relocation
from kernel_sim.modules.relocation import LoadedBytes

MODULES = Path(__file__).parents[2] / "modules"
LOADED = ("counter", "reader", "plain", "wide", "exporter")
# ld has no reason to know these: the kernel reads or leaves them in its own way.
NOT_COMPARED = (".symtab", ".strtab")


def link_oracle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("link_oracle", MODULES / "link_oracle.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loaded_and_linked(make_bench: Any, load_and_look: Any, arch: str, link: Any) -> Any:
    """Yield (object, what the loader made, what link() made of it) in order of loading."""
    bench = make_bench(arch)
    for name in LOADED:
        names = dict(bench.host.symbols)
        for mod in bench.loader.modules:
            names |= {symbol.name: symbol.value for symbol in mod.exports.values()}
        seen = load_and_look(bench, name)
        places = {at: addr for at, (addr, _) in seen.items() if at not in NOT_COMPARED}
        ours = {at: seen[at][1].hex() for at in places}
        yield name, ours, link(name, arch, places, names)


@pytest.mark.parametrize("arch", ["x86-64", "i386"])
def test_relocated_bytes_are_those_that_ld_made_once(
    make_bench: Any, load_and_look: Any, arch: str
) -> None:
    stored = json.loads((MODULES / "expected.json").read_text())
    nr_sections = 0
    for name, ours, theirs in loaded_and_linked(
        make_bench, load_and_look, arch, lambda name, arch, _places, _names: stored[arch][name]
    ):
        for section, data in theirs.items():
            assert ours[section] == data, (name, section)
            nr_sections += 1
    assert nr_sections >= 15


@pytest.mark.skipif(shutil.which("ld") is None, reason="no ld here")
def test_the_stored_bytes_are_what_ld_makes_today(make_bench: Any, load_and_look: Any) -> None:
    oracle = link_oracle()
    today: dict[str, dict[str, dict[str, str]]] = {}
    for arch in ("x86-64", "i386"):

        def link(name: str, arch: str, places: dict[str, int], names: dict[str, int]) -> Any:
            path = MODULES / "objects" / f"{name}-{arch}.o"
            return oracle.linked_sections(path, arch, places, names)

        made = loaded_and_linked(make_bench, load_and_look, arch, link)
        today[arch] = {name: theirs for name, _, theirs in made}
    if not oracle.EXPECTED.exists():
        oracle.write_expected(today)
    assert today == json.loads(oracle.EXPECTED.read_text())


def test_a_copy_reads_and_writes_little_endian_words() -> None:
    target = LoadedBytes(0x1000, bytearray(range(8)), "m")
    place = Relocation(2, 1, 0, 0)
    assert target.place_of(place) == 0x1002
    assert target.find_value(place, 4) == 0x05040302
    target.put_value(place, -1, 4)
    assert target.data == bytes([0, 1, 255, 255, 255, 255, 6, 7])


def test_a_place_that_reaches_beyond_its_section_is_refused() -> None:
    target = LoadedBytes(0x1000, bytearray(8), "m")
    assert target.find_value(Relocation(4, 1, 0, 0), 4) == 0
    assert target.find_value(Relocation(5, 1, 0, 0), 4) is None
    refused = target.outside(Relocation(5, 2, 0, 0))
    assert refused.lines == (
        "m: relocation type 2 at offset 0x5 reaches beyond its section of 0x8 bytes",
    )
