"""Machines are made of the inputs; those of the mails are the files that the commands name."""

from __future__ import annotations

from dataclasses import replace

from snapshots.figures.bench import Bench
from snapshots.figures.inputs import AS_MAILED
from snapshots.figures.machines import cpu_list, default_build, legacy_machine


def test_lists_of_cpus() -> None:
    assert [cpu_list(nr_cpus) for nr_cpus in (1, 2, 64)] == ["0", "0-1", "0-63"]


def test_a_default_build_has_the_default_of_its_day_and_all_cpus_possible() -> None:
    machine = Bench(AS_MAILED).fresh(default_build(AS_MAILED))
    assert machine.config.kernel.nr_cpus == 8
    assert machine.topology.possible == tuple(range(8))
    moved = replace(AS_MAILED, nr_cpus=5)
    assert Bench(moved).fresh(default_build(moved)).topology.possible == tuple(range(5))


def test_a_legacy_machine_has_the_inputs_in_it() -> None:
    moved = replace(AS_MAILED, static_bytes=1000, enough_room_bytes=5000)
    config = Bench(moved).fresh(legacy_machine(moved, 3, line_bytes=32)).config
    assert (config.percpu.static_bytes, config.cpus.possible) == (1000, (0, 1, 2))
    assert config.percpu.option("enough_room_bytes") == 5000
    assert config.percpu.option("cache_line_bytes") == 32
