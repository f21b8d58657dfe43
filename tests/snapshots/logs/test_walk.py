"""A walk over a log: what it does with given choices, and where it stops."""

from __future__ import annotations

import pytest

from kernel_sim.percpu.state import dump_chunk
from snapshots.logs.line_order import order_lines
from snapshots.logs.plan_engine import PlanEngine
from snapshots.logs.walk import Choices, Walk, WorkMoment
from tests.snapshots.conftest import LoggedKernel, log_of, small_config

CONFIG = small_config(cpus=4)


@pytest.fixture
def kernel() -> LoggedKernel:
    return LoggedKernel(CONFIG)


def walk_of(kernel: LoggedKernel) -> Walk:
    order = order_lines(log_of(kernel.events))
    return Walk(order, PlanEngine(kernel.info), kernel.bases[0])


def same_state(walk: Walk, kernel: LoggedKernel) -> bool:
    chunks, real = walk.engine.percpu.chunks, kernel.engine.percpu.chunks
    return [dump_chunk(row) for row in chunks.values()] == [
        dump_chunk(row) for row in real.values()
    ]


def full(kernel: LoggedKernel, nr_chunks: int = 4) -> list[int]:
    """Allocate a few chunks full and free all but the last; returns the freeing lines."""
    areas = []
    for _ in range(nr_chunks):
        lines = kernel.alloc(30000)
        kernel.print(*lines, after_us=100)
        areas.append(lines[-1])
    return [kernel.print(kernel.free(area), after_us=100) - 1 for area in areas[:-1]]


def test_a_true_log_is_walked_to_its_end(kernel: LoggedKernel) -> None:
    areas = [kernel.alloc(size)[-1] for size in (64, 8, 128, 4)]
    kernel.print(*areas)
    kernel.print(*(kernel.free(area) for area in areas[1:3]))
    kernel.print(*kernel.alloc(100))
    walk = walk_of(kernel)
    assert walk.run(7) is None
    assert [action.do for action in walk.actions] == ["alloc"] * 4 + ["free"] * 2 + ["alloc"]
    assert same_state(walk, kernel)


def test_a_placement_that_is_not_the_allocators_stops_it(kernel: LoggedKernel) -> None:
    kernel.print(*(kernel.alloc(64)[-1] for _ in range(3)))
    kernel.events[1] = kernel.events[1]._replace(off=2048)
    failure = walk_of(kernel).run(3)
    assert failure is not None
    assert (failure.at, failure.line, failure.kind) == (1, 1, "place")
    assert failure.expected == "offset 2048 of the first chunk"
    assert failure.got == "offset 64 of the first chunk"


def test_a_free_of_nothing_stops_it(kernel: LoggedKernel) -> None:
    area = kernel.alloc(64)[-1]
    kernel.print(area, kernel.free(area)._replace(off=8))
    failure = walk_of(kernel).run(2)
    assert failure is not None
    assert (failure.at, failure.kind) == (1, "free")


def test_a_chunk_line_that_nothing_explains_stops_it(kernel: LoggedKernel) -> None:
    kernel.print(*kernel.alloc(64))
    created = kernel.alloc(30000)[0]
    kernel.print(created._replace(task="kworker/0:1", pid=9))
    failure = walk_of(kernel).run(2)
    assert failure is not None
    assert (failure.at, failure.kind, failure.got) == (1, "chunk", "nothing")


def test_a_chunk_line_that_is_missing_stops_it(kernel: LoggedKernel) -> None:
    kernel.print(kernel.alloc(30000)[-1])
    failure = walk_of(kernel).run(1)
    assert failure is not None
    assert (failure.at, failure.kind, failure.expected) == (0, "chunk", "no more chunk events")


def test_an_allocation_that_is_chosen_early_is_decided_there(kernel: LoggedKernel) -> None:
    areas = [kernel.alloc(64)[-1] for _ in range(3)]
    kernel.print(*areas)
    late = kernel.alloc(64)[-1]
    kernel.print(kernel.free(areas[0], cpu=1, pid=2), late)
    walk = walk_of(kernel)
    failure = walk.run(5)
    assert failure is not None
    assert failure.at == 4
    walk = walk_of(kernel)
    walk.choose(Choices().with_early(4, 3))
    assert walk.run(5) is None
    assert [action.line for action in walk.actions] == [0, 1, 2, 4, 3]
    assert same_state(walk, kernel)
    walk.choose(Choices().with_early(4, 3).without_early(4))
    assert walk.choices == Choices()


def test_an_early_allocation_that_makes_a_chunk_is_itself_to_blame(kernel: LoggedKernel) -> None:
    area = kernel.alloc(64)[-1]
    kernel.print(area)
    kernel.print(kernel.free(area, cpu=1, pid=2), kernel.alloc(30000)[-1])
    walk = walk_of(kernel)
    walk.choose(Choices().with_early(2, 1))
    failure = walk.run(3)
    assert failure is not None
    assert (failure.at, failure.line, failure.kind) == (1, 2, "chunk")


def test_what_the_work_does_is_blamed_on_who_asked_for_it(kernel: LoggedKernel) -> None:
    asking = full(kernel)[1]
    for _ in range(3):
        kernel.print(*kernel.alloc(64), after_us=100)
    walk = walk_of(kernel)
    failure = walk.run(len(kernel.events))
    assert failure is not None
    assert (failure.kind, failure.asking) == ("chunk", asking)
    walk = walk_of(kernel)
    walk.choose(Choices().without_work(asking))
    assert walk.run(len(kernel.events)) is None
    assert same_state(walk, kernel)


def test_the_work_runs_in_the_next_gap_of_its_cpu(kernel: LoggedKernel) -> None:
    asking = full(kernel)[1]
    kernel.print(*kernel.work(), after_us=100)
    kernel.print(*kernel.alloc(64), after_us=100)
    walk = walk_of(kernel)
    assert walk.run(len(kernel.events)) is None
    assert "work" in [action.do for action in walk.actions]
    assert asking in walk.asked
    assert list(walk.engine.percpu.chunks) == list(kernel.engine.percpu.chunks)


def test_the_work_waits_for_the_end_of_an_uninterrupted_run(kernel: LoggedKernel) -> None:
    areas = []
    for _ in range(3):
        lines = kernel.alloc(30000)
        kernel.print(*lines, after_us=100)
        areas.append(lines[-1])
    frees = [kernel.free(area) for area in areas]
    kernel.print(frees[0], after_us=100)
    kernel.print(*frees[1:], after_us=5)
    kernel.print(*kernel.work(), after_us=100)
    walk = walk_of(kernel)
    assert walk.run(len(kernel.events)) is None
    assert [action.do for action in walk.actions][-4:] == ["free", "free", "free", "work"]
    assert same_state(walk, kernel)


@pytest.mark.parametrize("nr_stretches", [1, 2, 3])
def test_work_that_frees_came_into_is_cut_there(kernel: LoggedKernel, nr_stretches: int) -> None:
    asking = full(kernel)[1]
    small = kernel.alloc(64)[-1]
    kernel.print(small, after_us=2)
    first = kernel.work(nr_stretches=nr_stretches)
    assert kernel.engine.work_path is not None
    freed = kernel.free(small, cpu=1, pid=2)
    lines = [*first, freed, *kernel.work()]
    begins = len(kernel.events) - 1
    kernel.print(*lines, after_us=100)
    walk = walk_of(kernel)
    at = kernel.events.index(next(e for e in kernel.events if e.kind == "free" and e.cpu == 1))
    walk.choose(Choices().with_work(asking, WorkMoment(begins, nr_stretches, at)))
    failure = walk.run(len(kernel.events))
    assert failure is None
    assert [a.do for a in walk.actions][-3:] == ["work_cut", "free", "work_resume"]
    assert same_state(walk, kernel)


def test_a_line_that_is_taken_over_is_adopted(kernel: LoggedKernel) -> None:
    kernel.print(*(kernel.alloc(64)[-1] for _ in range(3)))
    kernel.events[1] = kernel.events[1]._replace(off=2048)
    walk = walk_of(kernel)
    walk.choose(Choices().with_forced(1, "place").with_forced(2, "place"))
    assert walk.run(3) is None
    assert [action.do for action in walk.actions] == ["alloc", "force_alloc", "force_alloc"]
    assert [off * 4 for off, _ in walk.engine.percpu.chunks[0].areas()] == [0, 128, 2048]


def test_going_back_and_walking_again_does_the_same(kernel: LoggedKernel) -> None:
    full(kernel)
    kernel.print(*kernel.work(), after_us=100)
    for size in (64, 8, 4096):
        kernel.print(*kernel.alloc(size), after_us=40)
    walk = walk_of(kernel)
    moments = [walk.save()]
    for position in range(1, len(kernel.events) + 1):
        assert walk.run(position) is None
        moments.append(walk.save())
    actions = list(walk.actions)
    for moment in (moments[3], moments[-2], moments[0], moments[7]):
        walk.restore(moment)
        assert walk.actions == actions[: moment.nr_actions]
        assert walk.run(len(kernel.events)) is None
        assert walk.actions == actions
        assert same_state(walk, kernel)


def test_requests_before_the_first_chunk_of_a_task_are_dropped(kernel: LoggedKernel) -> None:
    lines = kernel.alloc(30000)
    kernel.print(*lines)
    walk = walk_of(kernel)
    assert not walk.engine.percpu.async_enabled
    assert walk.run(2) is None
    assert walk.engine.percpu.async_enabled
    assert walk.actions[0].do == "async_on"


def test_what_a_place_looks_like_is_told_in_one_line(kernel: LoggedKernel) -> None:
    kernel.print(*(kernel.alloc(64)[-1] for _ in range(2)))
    kernel.events[1] = kernel.events[1]._replace(off=2048)
    walk = walk_of(kernel)
    failure = walk.run(2)
    assert failure is not None
    around = walk.describe_around(failure)
    assert around.startswith("chunk 0: free ")
    assert "\n" not in around
