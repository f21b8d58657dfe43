"""Who runs next."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kernel_sim.config_sections import POLICIES as CONFIGURABLE
from kernel_sim.random_state import RandomState
from kernel_sim.schedule import POLICIES, Scheduler


def scheduler(policy: str, seed: int = 1) -> Scheduler:
    return Scheduler(policy, RandomState.from_seed(seed))


def picks(which: Scheduler, runnable: list[int], count: int) -> list[int]:
    return [which.pick(runnable) for _ in range(count)]


def test_every_policy_that_a_config_may_name_is_known() -> None:
    assert CONFIGURABLE == POLICIES


@pytest.mark.parametrize("policy", ["round_robin", "scripted"])
def test_in_turn_the_next_higher_cpu_runs(policy: str) -> None:
    which = scheduler(policy)
    assert picks(which, [0, 2, 3], 5) == [0, 2, 3, 0, 2]
    assert which.pick([0, 1]) == 0
    assert which.pick([1]) == 1


def test_random_picks_all_and_depends_on_the_seed_alone() -> None:
    first, again, other = (picks(scheduler("random", s), [0, 1, 2], 60) for s in (4, 4, 5))
    assert first == again != other
    assert sorted(dict.fromkeys(first)) == [0, 1, 2]


def test_pct_stays_with_the_highest_priority_until_it_falls() -> None:
    chosen = picks(scheduler("pct", 3), [0, 1, 2], 600)
    changes = sum(a != b for a, b in pairwise(chosen))
    assert sorted(dict.fromkeys(chosen)) == [0, 1, 2]
    assert 2 <= changes <= 60


def test_pct_runs_another_when_the_highest_cannot() -> None:
    which = scheduler("pct", 3)
    top = which.pick([0, 1, 2])
    rest = [cpu for cpu in (0, 1, 2) if cpu != top]
    assert which.pick(rest) in rest


@pytest.mark.parametrize("policy", POLICIES)
def test_a_loaded_scheduler_goes_on_as_the_dumped_one(policy: str) -> None:
    which, other = scheduler(policy), scheduler(policy, 99)
    picks(which, [0, 1, 2, 3], 30)
    dump = which.dump()
    future = picks(which, [0, 1, 2, 3], 40)
    other.load(dump)
    assert other.dump() == dump
    assert picks(other, [0, 1, 2, 3], 40) == future
