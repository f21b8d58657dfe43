from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.modules.elf_object import Relocation
from kernel_sim.modules.relocate_x86_64 import RECIPES, apply_relocate_add
from kernel_sim.modules.relocation import LoadedBytes

NONE, R64, PC32, PLT32, R32, R32S, PC64 = 0, 1, 2, 4, 10, 11, 24
BASE = 0xFFFFFFFFC0000000


def relocated(kind: int, symbol: int, addend: int = 0, before: bytes = bytes(16)) -> object:
    target = LoadedBytes(BASE, bytearray(before), "mod")
    refused = apply_relocate_add(target, [Relocation(4, kind, 0, addend)], [symbol])
    return refused.lines if refused else target.data[4:].hex()


@pytest.mark.parametrize(
    ("kind", "symbol", "addend", "expected"),
    [
        (NONE, 5, 5, "00" * 12),
        (R64, 0xFFFFFFFF81000000, 0x10, "10000081ffffffff00000000"),
        (PC32, 0xFFFFFFFF81000000, -4, "f8ffffc0" + "00" * 8),
        (PLT32, BASE + 0x100, -4, "f8000000" + "00" * 8),
        (R32, 0x35008, 4, "0c500300" + "00" * 8),
        (R32S, 0xFFFFFFFF81000000, 0, "00000081" + "00" * 8),
        (R32S, 0x35008, 0, "08500300" + "00" * 8),
        (PC64, BASE, 0, "fcffffffffffffff" + "00" * 4),
        # A per-CPU pointer in the reserved part, seen from the module space: it wraps and fits.
        (PC32, 0x35008, -4, "00500340" + "00" * 8),
    ],
)
def test_each_type_by_hand(kind: int, symbol: int, addend: int, expected: str) -> None:
    assert relocated(kind, symbol, addend) == expected


@pytest.mark.parametrize(
    ("kind", "symbol"),
    [(R32, 0xFFFFFFFF81000000), (R32, 1 << 32), (R32S, 1 << 31), (R32S, 0xFFFFFFFF7FFFFFFF)],
)
def test_what_does_not_fit_is_refused_in_the_kernels_words(kind: int, symbol: int) -> None:
    assert relocated(kind, symbol) == (
        f"module: overflow in relocation type {kind} val {symbol:x}",
        "module: `mod' likely not compiled with -mcmodel=kernel",
    )


def test_a_dynamic_per_cpu_pointer_is_out_of_reach() -> None:
    """Why modules get their per-CPU section from the reserved part of the first chunk."""
    refused = relocated(R32S, 0x607F83800000)
    assert isinstance(refused, tuple) and refused[0].endswith("type 11 val 607f83800000")


def test_relative_32_bit_values_are_cut_off_as_in_the_kernel() -> None:
    assert relocated(PC32, 0x607F83800000, 4) == "000080c3" + "00" * 8


def test_a_place_that_is_not_zero_is_refused() -> None:
    before = bytes(7) + b"\1" + bytes(8)
    for kind in RECIPES:
        refused = relocated(kind, 0x1000, 0, before)
        assert refused == (
            "module: x86/modules: Skipping invalid relocation target, existing value is nonzero "
            f"for type {kind}, loc ffffffffc0000004, val 1000",
        )


def test_an_unknown_type_is_refused() -> None:
    assert relocated(9, 0) == ("module: mod: Unknown rela relocation: 9",)


def test_a_place_beyond_the_section_is_refused() -> None:
    target = LoadedBytes(BASE, bytearray(6), "mod")
    refused = apply_relocate_add(target, [Relocation(3, R32S, 0, 0)], [0])
    assert refused is not None and "reaches beyond its section" in refused.lines[0]


@given(
    st.sampled_from(sorted(RECIPES)),
    st.integers(0, (1 << 64) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1),
)
def test_what_is_written_stands_for_the_value(kind: int, symbol: int, addend: int) -> None:
    done = relocated(kind, symbol, addend)
    if isinstance(done, str):
        width, is_relative, fits = RECIPES[kind]
        value = (symbol + addend - (BASE + 4 if is_relative else 0)) % (1 << 64)
        written = bytes.fromhex(done)[:width]
        assert int.from_bytes(written, "little") == value % (1 << 8 * width)
        if fits:
            read_back = int.from_bytes(written, "little", signed=fits == "signed")
            assert read_back % (1 << 64) == value
