"""The days of the allocator with area maps."""

from __future__ import annotations

import itertools

from kernel_sim.percpu.area_stage import LATEST, STAGE_NAMES, STAGES, stage_named


def test_stages_are_found_by_their_names_in_order() -> None:
    assert STAGE_NAMES == ("mail", "v1", ".31", ".32")
    assert [stage_named(name) for name in STAGE_NAMES] == list(STAGES)
    assert LATEST is STAGES[-1]


def test_each_day_has_what_the_one_before_had_and_more() -> None:
    """What was mended stays mended: a list for free chunks, the work item, the reserve, groups."""
    for earlier, later in itertools.pairwise(STAGES):
        for name in ("has_free_slot", "has_reserved", "has_groups"):
            assert getattr(earlier, name) <= getattr(later, name)
        assert earlier.frees_at_once >= later.frees_at_once
        assert earlier.static_alone >= later.static_alone
