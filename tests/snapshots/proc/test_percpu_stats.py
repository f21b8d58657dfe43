"""Reading percpu_stats."""

from __future__ import annotations

import pytest

from kernel_sim.proc.figures import Figure
from kernel_sim.proc.percpu_stats import percpu_stats_text
from snapshots.errors import InputError
from snapshots.proc.percpu_stats import parse_percpu_stats

GOOD = """Percpu Memory Statistics
Allocation Info:
----------------------------------------
  unit_size           :      1048576

Global Stats:
----------------------------------------
  nr_alloc            :           -1

Per Chunk Stats:
----------------------------------------
Chunk: <- First Chunk
  nr_alloc            :            7

Chunk (to_depopulate)
  nr_alloc            :            0

"""


HEAD = "Percpu Memory Statistics\nAllocation Info:\n" + "-" * 40 + "\n"


def test_sections_are_read_and_printed_again() -> None:
    rows = parse_percpu_stats(GOOD, "f")
    assert rows.info == (Figure("unit_size", 1048576),)
    assert rows.totals == (Figure("nr_alloc", -1),)
    assert [chunk.heading for chunk in rows.chunks] == [
        "Chunk: <- First Chunk",
        "Chunk (to_depopulate)",
    ]
    assert percpu_stats_text(rows) == GOOD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends after line 0; expected 'Percpu Memory Statistics'"),
        ("Percpu\n", "line 1, column 1: 'Percpu'; expected 'Percpu Memory Statistics'"),
        (
            HEAD + "  a: 1\n  a: 1\n",
            "line 5, column 7: ''; expected every figure once",
        ),
        (
            HEAD + "  a: x\n",
            "line 4, column 5: ' x'; expected a whole number",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_percpu_stats(text, "f")
    assert str(caught.value).startswith(f"f: {message}")


def test_a_strange_heading_of_a_chunk_is_refused() -> None:
    with pytest.raises(InputError, match=r"^f: line 12, column 1: 'chunk"):
        parse_percpu_stats(GOOD.replace("Chunk: <-", "chunk"), "f")
