from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from kernel_sim.percpu.stretch import DATA_KINDS, DYNAMIC, HOLE, KINDS, SHARED, Stretch


def test_a_stretch_ends_where_the_next_begins_and_belongs_to_nobody_by_itself() -> None:
    stretch = Stretch("unit", 0x1000, 0x20, DYNAMIC, "an area")
    assert (stretch.end, stretch.cpu, stretch.ptr) == (0x1020, SHARED, 0)
    with pytest.raises(FrozenInstanceError):
        stretch.addr = 0  # type: ignore[misc]


def test_data_is_what_somebody_asked_for() -> None:
    assert all(kind in KINDS for kind in DATA_KINDS)
    assert HOLE not in DATA_KINDS
