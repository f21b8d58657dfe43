from __future__ import annotations

from typing import Any

from kernel_sim.modules.elf_object import parse_elf
from kernel_sim.modules.module import UNFORMED
from kernel_sim.modules.symbol_table import find_symbol


def test_a_kernel_object_exports_its_tables_and_nothing_else(any_bench: Any) -> None:
    assert any_bench.load("exporter") == 0
    mod = any_bench.loader.modules[0]
    assert list(mod.exports) == ["exporter_func", "exporter_count"]
    own = {symbol.name: symbol for symbol in mod.symbols}
    assert mod.exports["exporter_func"].value == own["exporter_func"].value
    count = mod.exports["exporter_count"]
    assert (count.value, count.is_percpu, count.size_bytes) == (mod.percpu_ptr, True, 4)
    assert "exporter_hidden" in own


def test_a_plain_object_exports_its_globals(any_bench: Any) -> None:
    assert any_bench.load("counter") == 0
    mod = any_bench.loader.modules[0]
    assert sorted(mod.exports) == [
        "counter_bump", "counter_global", "counter_names", "counter_table", "counter_where",
    ]  # fmt: skip
    assert {name for name, symbol in mod.exports.items() if symbol.is_percpu} == {"counter_global"}


def test_the_kernel_comes_first_and_unformed_modules_are_passed_over(bench: Any) -> None:
    assert bench.load("counter") == 0
    found = find_symbol(bench.host, bench.loader.modules, "counter_bump")
    assert found is not None and found.owner is bench.loader.modules[0]
    bench.loader.modules[0].state = UNFORMED
    assert find_symbol(bench.host, bench.loader.modules, "counter_bump") is None
    bench.host.symbols["counter_bump"] = 0x1234
    found = find_symbol(bench.host, bench.loader.modules, "counter_bump")
    assert found is not None and (found.value, found.owner) == (0x1234, None)
    percpu = find_symbol(bench.host, [], "kernel_percpu")
    assert percpu is not None and percpu.is_percpu


def test_a_table_of_exports_that_points_away_is_refused(make_image: Any, bench: Any) -> None:
    """The relocation of a name made to point at the first function instead: no text is there."""
    image = bytearray(make_image("exporter"))
    elf = parse_elf(bytes(image))
    part = next(p for p in elf.relocation_sections if p.section.name == ".rela__ksymtab")
    at = part.section.offset_bytes + 24 + 16
    image[at : at + 8] = (1 << 20).to_bytes(8, "little")
    assert bench.load("exporter", "", bytes(image)) == -8
    assert "no name of an exported symbol lies at" in bench.host.texts()[0]
    assert bench.host.is_clean() and not bench.loader.modules
