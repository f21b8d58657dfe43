"""The same work on every system of the catalogue; those that cannot be are listed."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.catalogue import CATALOGUE
from snapshots.compare.generated import generated_workload
from snapshots.compare.machines import USUAL_MACHINE, chosen_systems
from snapshots.compare.runner import Comparison, begin_comparison, comparing, peak_of
from snapshots.compare.workload import Alloc, Free, ModuleLoad, StaticAccess, Workload
from tests.snapshots.compare.conftest import compared


def test_every_system_of_the_catalogue_runs_or_is_listed(mixed: Comparison) -> None:
    told = [run.label for run in mixed.runs] + [each.label for each in mixed.not_run]
    assert sorted(told) == sorted(CATALOGUE)
    assert all(each.reason for each in mixed.not_run)


# -- the whole ---------------------------------------------------------------------------------------------


def test_the_peak_is_where_most_is_asked_for() -> None:
    operations = (Alloc(1, 10, 4), ModuleLoad("m", 30, 4, 1), Free(1), Alloc(2, 5, 4))
    assert peak_of(Workload("t", "test", operations)) == 2
    assert peak_of(Workload("t", "test", (StaticAccess(0, 0, 0),))) == 0
    (run,) = compared(Workload("t", "test", operations), "bitmap").runs
    assert run.measured.at_peak.total["asked"] == 4 * 40
    assert run.measured.at_end.total["asked"] == 4 * 35


def test_a_machine_that_cannot_be_is_no_comparison() -> None:
    work = generated_workload("gen:small,ops=5")
    with pytest.raises(ConfigError, match=r"no system can run: .*possible: missing"):
        begin_comparison(work, chosen_systems("bitmap"), {}, "test")


def test_what_the_machine_says_itself_is_not_changed() -> None:
    percpu = {"backend": "km", "static_bytes": 17892, "distance_fn": True}
    work = generated_workload("gen:small,ops=5")
    with pytest.raises(ConfigError, match="with 2 groups; expected one group"):
        begin_comparison(
            work, chosen_systems("bitmap"), {**USUAL_MACHINE, "percpu": percpu}, "test"
        )


def test_it_is_told_how_far_it_is() -> None:
    comparison = begin_comparison(
        generated_workload("gen:small,ops=40"), chosen_systems("bitmap"), USUAL_MACHINE, "test"
    )
    told = list(comparing(comparison))
    assert told[0].nr_done == 0
    assert sorted(told, key=lambda each: each.nr_done) == told
    assert told[-1].nr_done == told[-1].nr_operations == 40
    assert {each.label for each in told} == {"bitmap"}
    assert comparison.is_whole


def test_a_system_that_serves_one_group_gets_one_and_it_is_said() -> None:
    work = generated_workload("gen:small,ops=20")
    base = {**USUAL_MACHINE, "percpu": {"backend": "km", "static_bytes": 17892}}
    comparison = begin_comparison(work, chosen_systems("bitmap"), base, "test")
    (run,) = comparison.runs
    assert len(run.machine.alloc_info.groups) == 1
    (note,) = comparison.notes
    assert note.startswith(
        "bitmap has all CPUs in one group, for otherwise: test: [percpu] backend"
    )
    kept = begin_comparison(work, chosen_systems("bitmap"), USUAL_MACHINE, "test")
    assert len(kept.runs[0].machine.alloc_info.groups) == 2
    assert not kept.notes
