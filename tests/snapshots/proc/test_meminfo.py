"""Reading /proc/meminfo."""

from __future__ import annotations

import pytest

from kernel_sim.proc.meminfo import MeminfoRow
from snapshots.errors import InputError
from snapshots.proc.meminfo import parse_meminfo


def test_rows_are_read() -> None:
    assert parse_meminfo("Active(anon):   1 kB\nHugePages_Total:   3\n", "f") == (
        MeminfoRow("Active(anon)", 1, "kB"),
        MeminfoRow("HugePages_Total", 3, ""),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MemTotal 5 kB\n", "line 1, column 1: 'MemTotal 5 kB'; expected a name such as"),
        ("MemTotal: x kB\n", "line 1, column 11: 'x kB'; expected a number"),
        ("MemTotal: 5 MB\n", "line 1, column 12: ' MB'; expected ' kB'"),
        ("A: 5 kB\nA: 5 kB\n", "line 2, column 3: ' 5 kB'; expected every name once"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_meminfo(text, "f")
    assert str(caught.value).startswith(f"f: {message}")
