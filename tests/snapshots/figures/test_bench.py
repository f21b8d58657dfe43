"""Machines that are looked at are booted once, those that are worked on are one's own."""

from __future__ import annotations

from snapshots.figures.bench import Bench
from snapshots.figures.inputs import AS_MAILED
from snapshots.figures.machines import legacy_machine


def test_the_same_description_is_booted_once() -> None:
    bench = Bench(AS_MAILED)
    one = bench.seen(legacy_machine(AS_MAILED, 2))
    assert bench.seen(legacy_machine(AS_MAILED, 2)) is one
    assert bench.seen(legacy_machine(AS_MAILED, 2, line_bytes=64)) is not one


def test_a_fresh_machine_is_nobody_elses() -> None:
    bench = Bench(AS_MAILED)
    description = legacy_machine(AS_MAILED, 1)
    assert bench.fresh(description) is not bench.fresh(description)
