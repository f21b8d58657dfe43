"""The manual tells every bound that a file meets."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapshots.container import limits

MANUAL = Path(__file__).parents[3] / "docs" / "recording-format.md"
BOUNDS_OF_THE_FORMAT = sorted(name for name in vars(limits) if name.endswith("_MAX"))


@pytest.mark.parametrize("name", BOUNDS_OF_THE_FORMAT)
def test_the_manual_states_each_bound_with_its_value(name: str) -> None:
    row = f"| `{name}` | {getattr(limits, name):,} |".replace(",", " ")
    assert row in MANUAL.read_text(encoding="utf-8")
