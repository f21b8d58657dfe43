"""Reading /proc/kallsyms and System.map."""

from __future__ import annotations

import pytest

from kernel_sim.proc.kallsyms import SymbolRow
from snapshots.errors import InputError
from snapshots.proc.kallsyms import parse_kallsyms_rows


def test_rows_are_read_with_and_without_module() -> None:
    text = "0000000000034080 A steal_time\nffffffffc0424000 t init\t[virtio]\nc1000000 T _text\n"
    assert parse_kallsyms_rows(text, "f") == (
        SymbolRow(0x34080, "A", "steal_time", ""),
        SymbolRow(0xFFFFFFFFC0424000, "t", "init", "virtio"),
        SymbolRow(0xC1000000, "T", "_text", ""),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xyz", "line 1, column 1: 'xyz'; expected an address"),
        ("0 TT a", "line 1, column 2: ' TT a'; expected one letter"),
        ("0 T a b", "line 1, column 6: ' b'; expected '[module]'"),
        ("00000000000000000 T a", "line 1, column 1: '00000000000000000 T a'; expected an address"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_kallsyms_rows(text, "f")
    assert str(caught.value).startswith(f"f: {message}")
