"""Reading /proc/iomem."""

from __future__ import annotations

import pytest

from kernel_sim.proc.iomem import IomemRow
from snapshots.errors import InputError
from snapshots.proc.iomem import parse_iomem


def test_the_tree_is_read() -> None:
    text = "00001000-0009fbff : System RAM\n  00002000-00002fff : Kernel code\n0-0 : x\n"
    assert parse_iomem(text, "f") == (
        IomemRow(0, 0x1000, 0x9FBFF, "System RAM"),
        IomemRow(1, 0x2000, 0x2FFF, "Kernel code"),
        IomemRow(0, 0, 0, "x"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  0-1 : a\n", "line 1, column 3: '0-1 : a'; expected a range at most one step"),
        ("0-1 : a\n   0-1 : b\n", "line 2, column 4: '0-1 : b'; expected a range at most one step"),
        ("5-1 : a\n", "line 1, column 8: ''; expected a range inside"),
        (
            "0-1 : a\n  0-2 : b\n",
            "line 2, column 10: ''; expected a range inside 00000000-00000001",
        ),
        ("0-0 : a\n0-0 : b\n", "all addresses are 0; expected the file as root reads it"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_iomem(text, "f")
    assert str(caught.value).startswith(f"f: {message}")
