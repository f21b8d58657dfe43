"""Reading /proc/buddyinfo."""

from __future__ import annotations

import pytest

from kernel_sim.proc.buddyinfo import BuddyRow
from snapshots.errors import InputError
from snapshots.proc.buddyinfo import parse_buddyinfo


def test_a_row_is_read() -> None:
    assert parse_buddyinfo("Node 1, zone   Normal      3      0 \n", "f") == (
        BuddyRow(1, "Normal", (3, 0)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Node x", "line 1, column 6: 'x'; expected the number of a node"),
        ("Node 0, zone ", "line 1, column 14: ''; expected the name of a zone"),
        (
            "Node 0, zone DMA 1 2\nNode 0, zone DMA32 1\n",
            "line 2, column 21: ''; expected 2 numbers, one an order, got 1",
        ),
        ("\n", "line 1, column 1: ''; expected 'Node 0, zone"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_buddyinfo(text, "f")
    assert str(caught.value).startswith(f"f: {message}")
