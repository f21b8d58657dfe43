"""Reading /proc/zoneinfo."""

from __future__ import annotations

import pytest

from kernel_sim.proc.figures import Figure
from snapshots.errors import InputError
from snapshots.proc.zoneinfo import parse_zoneinfo

EMPTY = """Node 0, zone   Device
  pages free     0
        present  0
        protection: (0, 7)
"""


def test_a_zone_without_memory_ends_early() -> None:
    first, second = parse_zoneinfo(EMPTY * 2, "f")
    assert first == second
    assert first.sizes == (Figure("free", 0), Figure("present", 0))
    assert first.protection == (0, 7)
    assert first.population is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Node 0, zone DMA\n", "ends after line 1; expected '  pages free …'"),
        ("Node 0, zone DMA\n  pages free x\n", "line 2, column 14: 'x'; expected a number"),
        (
            "Node 0, zone DMA\n  pages free 1\n        a 1\n        a 2\n",
            "line 4, column 12: ''; expected every counter once",
        ),
        (
            "Node 0, zone DMA\n  pages free 1\n        present 1\n        protection: (0)\n",
            "ends after line 4; expected '  pagesets'",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_zoneinfo(text, "f")
    assert str(caught.value).startswith(f"f: {message}")
