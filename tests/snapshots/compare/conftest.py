"""Comparisons that were run: of all systems there are, on a small machine."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from snapshots.compare.generated import generated_workload
from snapshots.compare.machines import USUAL_MACHINE, chosen_systems
from snapshots.compare.runner import Comparison, begin_comparison, comparing
from snapshots.compare.workload import Workload


def compared(
    workload: Workload | str, systems: str | None = None, base: Mapping[str, object] = USUAL_MACHINE
) -> Comparison:
    """Run a workload, or that of a spec, to its end."""
    work = generated_workload(workload) if isinstance(workload, str) else workload
    comparison = begin_comparison(work, chosen_systems(systems), base, "test")
    for _ in comparing(comparison):
        pass
    return comparison


@pytest.fixture(scope="module")
def mixed() -> Comparison:
    """All systems after some mixed work."""
    return compared("gen:mixed,seed=3,ops=400")
