"""What is found still fails, nothing more can be left out of it, and it is found again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.events import PercpuAllocPercpu
from kernel_sim.machine import Machine
from kernel_sim.random_state import RandomState
from snapshots.errors import InputError
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.what_if.failure import Condition, Outcome, event_like, expression_holds, inferred
from snapshots.what_if.program import BareRun, Player, Program, Row, finished
from snapshots.what_if.retrace import program_of
from snapshots.what_if.shrink import Budget, Shrinker, Shrunk, timeline_of
from tests.snapshots.conftest import (
    CONFIGS,
    GFP_ATOMIC,
    GFP_KERNEL,
    SCHEDULES,
    Action,
    inputs_of,
    recorded,
    small_config,
)

SEED = 20060517
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def planted(nr_calls: int = 300) -> Timeline:
    """Allocations and frees at random, and among them one area that is freed twice: three calls."""
    timeline = Timeline(boot(small_config(cpus=4, policy="random", seed=5, dynamic_bytes=28672)))
    random = RandomState.from_seed(SEED)
    live: list[int] = []
    victim = 0
    while timeline.nr_inputs < nr_calls - 1:
        cpu, here = random.below(4), timeline.nr_inputs
        if here == nr_calls // 3:
            victim = timeline.give("pcpu_alloc", cpu, (1028, 8, False, GFP_KERNEL, "victim"))
        elif here == nr_calls // 2:
            ptr = timeline.calls[victim].result
            timeline.give("free_percpu", cpu, (int(str(ptr)),))
        elif live and random.below(3) == 0:
            ptr = timeline.calls[live.pop(random.below(len(live)))].result
            if ptr:
                timeline.give("free_percpu", cpu, (int(str(ptr)),))
        else:
            # small ones fit elsewhere: nothing takes the victim's place
            args = (4 * (1 + random.below(20)), 4, False, GFP_KERNEL, "other")
            live.append(timeline.give("pcpu_alloc", cpu, args))
        timeline.advance(NO_LIMIT if random.below(2) else timeline.step + 5)
        live = [n for n in live if timeline.calls[n].done] + [
            n for n in live if not timeline.calls[n].done
        ]
        if live and not timeline.calls[live[-1]].done:
            timeline.advance(NO_LIMIT)
    timeline.give("free_percpu", 3, (int(str(timeline.calls[victim].result)),))
    timeline.advance(NO_LIMIT)
    return timeline


def shrunk(
    timeline: Timeline, condition: Condition | None = None, budget: Budget | None = None
) -> tuple[Shrunk, Program, Condition]:
    program, machine = finished(program_of(timeline))
    condition = condition or inferred(Outcome(machine, machine.events))
    shrinker = Shrinker(program, condition, budget or Budget())
    for _ in shrinker.shrinks():
        pass
    return shrinker.best, program, condition


def fails(rows: list[Row], best: Shrunk, condition: Condition) -> bool:
    """Run rows from a fresh boot: the model, without caches and loading."""
    machine = boot(best.config)
    finished(Player(BareRun(machine), rows).play(best.tail_steps))
    return condition.holds(Outcome(machine, machine.events))


def check_minimal(best: Shrunk, condition: Condition) -> None:
    assert best.is_minimal
    assert fails(best.rows, best, condition)
    for place in range(len(best.rows)):
        rest = best.rows[:place] + best.rows[place + 1 :]
        assert not fails(rest, best, condition), f"row {place} is not needed: {best.rows}"


def test_a_planted_bug_of_three_calls_is_found_in_three_hundred() -> None:
    timeline = planted()
    assert timeline.machine.fault is not None
    best, program, condition = shrunk(timeline)
    assert best.nr_before == len(program.rows) == timeline.nr_inputs
    assert [row.do for row in best.rows] == ["pcpu_alloc", "free_percpu", "free_percpu"]
    assert [row.cpu for row in best.rows] == [0, 0, 0]
    assert best.rows[0].args[:2] == (4, 8)
    assert (best.config.schedule.policy, best.config.schedule.seed) == ("round_robin", 0)
    check_minimal(best, condition)


def test_what_is_found_is_recorded_as_it_was_run() -> None:
    best, program, condition = shrunk(planted())
    timeline = timeline_of(best, program)
    assert timeline.nr_inputs == 3
    events = [timeline.event_at(number) for number in range(timeline.nr_events)]
    assert condition.holds(Outcome(timeline.machine, events))
    assert timeline.first_step == 0
    assert [row.do for row in best.rows] == [given.do for given in inputs_of(timeline)]


def test_the_same_recording_and_condition_lead_to_the_same_result() -> None:
    one, program, _ = shrunk(planted())
    two, _, _ = shrunk(planted())
    assert (one.rows, one.nr_runs, one.nr_steps) == (two.rows, two.nr_runs, two.nr_steps)
    assert inputs_of(timeline_of(one, program)) == inputs_of(timeline_of(two, program))


@FEW
@given(
    CONFIGS, SCHEDULES, st.sampled_from(["percpu_free_percpu", "percpu_create_chunk", "console"])
)
def test_whatever_is_shrunk_fails_and_is_minimal(
    config: MachineConfig, actions: list[Action], name: str
) -> None:
    timeline = recorded(config, actions)
    condition = event_like(name, {})
    program, machine = finished(program_of(timeline))
    if not condition.holds(Outcome(machine, machine.events)):
        with pytest.raises(InputError, match="does not hold"):
            shrunk(timeline, condition)
        return
    best, _, _ = shrunk(timeline, condition)
    assert len(best.rows) <= len(program.rows)
    check_minimal(best, condition)


def test_an_overlap_that_matters_is_kept() -> None:
    """The condition is that two CPUs stand in line for a lock: one call alone never does."""
    timeline = Timeline(boot(small_config(cpus=3, policy="random", seed=2)))
    for cpu in (0, 1, 2, 0):
        timeline.give("pcpu_alloc", cpu, (64, 8, False, GFP_KERNEL, "here"))
    timeline.advance(7)

    def waits(machine: Machine) -> bool:
        stacks = [machine.cpus[number].stack for number in machine.active]
        return any(s[-1].wish is not None and s[-1].wish.holder >= 0 for s in stacks)

    best, _, condition = shrunk(timeline, expression_holds("waits", waits))
    assert 2 <= len(best.rows) <= 3
    assert best.tail_steps is not None and best.tail_steps < 7
    check_minimal(best, condition)


def test_the_size_that_fails_stays_and_the_rest_becomes_small() -> None:
    timeline = Timeline(boot(small_config(cpus=2, work="scripted")))
    for size in (600, 700, 8000):
        timeline.give("pcpu_alloc", 1, (size, 64, False, GFP_KERNEL, "here"))
        timeline.advance(NO_LIMIT)
    timeline.give("pcpu_alloc", 1, (8000, 64, False, GFP_ATOMIC, "here"))
    timeline.advance(NO_LIMIT)
    best, _, condition = shrunk(timeline)
    assert condition.text == "event percpu_alloc_percpu_fail is_atomic=yes size=8000"
    assert best.rows[-1].args[0] == 8000
    assert len(best.rows) == 2
    assert int(str(best.rows[0].args[0])) <= 8000
    check_minimal(best, condition)


def test_what_a_simpler_call_makes_needless_goes_too() -> None:
    """Two calls are needed as long as both are CPU 1's; one that is CPU 0's does alone."""
    timeline = Timeline(boot(small_config(cpus=2)))
    for _ in range(3):
        timeline.give("pcpu_alloc", 1, (64, 8, False, GFP_KERNEL, "here"))
        timeline.advance(NO_LIMIT)

    def holds(outcome: Outcome) -> bool:
        cpus = [at.cpu for at in outcome.events if isinstance(at.event, PercpuAllocPercpu)]
        return len(cpus) >= 2 or 0 in cpus

    best, _, condition = shrunk(timeline, Condition("two, or one on CPU 0", holds))
    assert [row.cpu for row in best.rows] == [0]
    check_minimal(best, condition)


def test_no_candidate_is_run_twice() -> None:
    program, machine = finished(program_of(planted(60)))
    seen: list[tuple[object, ...]] = []
    condition = inferred(Outcome(machine, machine.events))

    class Counting(Shrinker):
        def _run(self, rows, schedule, doing):  # type: ignore[no-untyped-def]
            before = self.budget.nr_runs
            found = yield from super()._run(rows, schedule, doing)
            if self.budget.nr_runs > before:
                seen.append((tuple(rows), schedule, self.tail_steps))
            return found

    counting = Counting(program, condition)
    for _ in counting.shrinks():
        pass
    assert len(seen) == len(dict.fromkeys(seen)) == counting.budget.nr_runs


def test_the_budget_bounds_the_search_and_the_best_is_kept() -> None:
    timeline = planted()
    for runs_max in (1, 2, 8, 20):
        best, _, condition = shrunk(timeline, budget=Budget(runs_max=runs_max))
        assert best.nr_runs <= runs_max
        assert not best.is_minimal
        assert fails(best.rows, best, condition)
    few = Budget(steps_max=1)
    best, _, condition = shrunk(timeline, budget=few)
    assert best.nr_runs == 1 and fails(best.rows, best, condition)


def test_whoever_stops_asking_has_the_best_so_far() -> None:
    program, machine = finished(program_of(planted()))
    condition = inferred(Outcome(machine, machine.events))
    shrinker = Shrinker(program, condition)
    told = list(itertools.islice(shrinker.shrinks(), 60))
    best = shrinker.best
    assert fails(best.rows, best, condition)
    assert [each.nr_runs for each in told] == sorted(each.nr_runs for each in told)
    sizes = [each.nr_rows for each in told]
    assert sizes == sorted(sizes, reverse=True)


def test_a_run_that_does_not_fail_is_refused() -> None:
    timeline = recorded(small_config(), [("alloc", 0, 64, 8, GFP_KERNEL)])
    condition = event_like("percpu_destroy_chunk", {})
    with pytest.raises(InputError, match="does not hold at the run's end: event percpu_destroy"):
        shrunk(timeline, condition)
