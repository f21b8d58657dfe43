from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.modules.elf_object import Relocation
from kernel_sim.modules.relocate_i386 import apply_relocate
from kernel_sim.modules.relocation import LoadedBytes

BASE = 0xF8000000
WORDS = st.integers(0, (1 << 32) - 1)


def relocated(kind: int, symbol: int, before: int) -> object:
    target = LoadedBytes(BASE, bytearray(4) + bytearray(before.to_bytes(4, "little")), "mod")
    refused = apply_relocate(target, [Relocation(4, kind, 0, 0)], [symbol])
    return refused.lines if refused else int.from_bytes(target.data[4:], "little")


@pytest.mark.parametrize(
    ("kind", "symbol", "before", "expected"),
    [
        (1, 0xC1000000, 0x10, 0xC1000010),
        (2, 0xC1000000, 0xFFFFFFFC, 0xC8FFFFF8),
        (4, 0xF8000100, 0xFFFFFFFC, 0xF8),
    ],
)
def test_each_type_by_hand(kind: int, symbol: int, before: int, expected: int) -> None:
    assert relocated(kind, symbol, before) == expected


@given(st.sampled_from([1, 2, 4]), WORDS, WORDS)
def test_all_is_modulo_2_to_the_32(kind: int, symbol: int, before: int) -> None:
    place = 0 if kind == 1 else BASE + 4
    assert relocated(kind, symbol, before) == (symbol + before - place) % (1 << 32)


def test_an_unknown_type_is_refused() -> None:
    assert relocated(10, 0, 0) == ("module: mod: Unknown relocation: 10",)


def test_a_place_beyond_the_section_is_refused() -> None:
    refused = apply_relocate(LoadedBytes(BASE, bytearray(6), "mod"), [Relocation(3, 1, 0, 0)], [0])
    assert refused is not None and "reaches beyond its section" in refused.lines[0]
