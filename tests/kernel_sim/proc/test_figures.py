"""Rows as plain values."""

from __future__ import annotations

import json
from typing import NamedTuple

from kernel_sim.proc.figures import Figure, figures_of, to_builtin, value_of


class Row(NamedTuple):
    name: str
    figures: tuple[Figure, ...]
    places: tuple[int, ...]
    nothing: int | None


def test_figures_are_found_by_name() -> None:
    figures = figures_of([("a", 1), ("b", 2)])
    assert value_of(figures, "b") == 2
    assert value_of(figures, "c") == 0


def test_rows_become_what_json_has() -> None:
    rows = (Row("x", figures_of([("a", 1)]), (3, 4), None), Row("y", (), (), 5))
    expected = [
        {"name": "x", "figures": {"a": 1}, "places": [3, 4], "nothing": None},
        {"name": "y", "figures": [], "places": [], "nothing": 5},
    ]
    assert to_builtin(rows) == expected
    assert json.loads(json.dumps(to_builtin(rows))) == expected
