"""examples/shrink/ works as the README says: ten thousand calls, and the five of them that fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from snapshots.what_if.failure import Outcome, inferred
from snapshots.what_if.program import finished
from snapshots.what_if.retrace import program_of
from snapshots.what_if.shrink import Shrinker

EXAMPLE = Path(__file__).parents[1] / "examples" / "shrink" / "late_write.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("late_write", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_ten_thousand_calls_become_five(example: ModuleType) -> None:
    workload = example.Workload()
    timeline = workload.run()
    assert timeline.nr_inputs >= 10_000
    assert workload.nr_mistakes > 1, "most mistakes go unnoticed"
    program, machine = finished(program_of(timeline))
    shrinker = Shrinker(program, inferred(Outcome(machine, machine.events)))
    for _ in shrinker.shrinks():
        pass
    best = shrinker.best
    assert best.is_minimal
    assert [row.do for row in best.rows] == [
        "pcpu_alloc", "pcpu_alloc", "free_percpu", "free_percpu", "this_cpu_write",
    ]  # fmt: skip
    assert best.rows[-1].cpu != best.rows[0].cpu
