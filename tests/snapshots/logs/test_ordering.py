"""The search finds each way in which a log's order is not the kernel's, and nothing where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.percpu.state import dump_chunk, dump_percpu
from snapshots.logs import ordering
from snapshots.logs.line_order import order_lines
from snapshots.logs.ordering import OrderSearch
from snapshots.logs.plan_engine import PlanEngine
from snapshots.logs.trace_log import TraceEvent
from snapshots.logs.walk import Choices
from tests.snapshots.conftest import GOLDEN, LoggedKernel, log_of, small_config

ROOT = Path(__file__).parents[3]
CONFIG = small_config(cpus=4)
IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from snapshots.logs.replay import replay_path
report = replay_path(Path(sys.argv[1]))
print(report.inferred, report.divergences, report.counts)
"""


@pytest.fixture
def kernel() -> LoggedKernel:
    return LoggedKernel(CONFIG)


@pytest.fixture
def holes(kernel: LoggedKernel) -> list[TraceEvent]:
    """Six areas of 64 bytes, far back in time."""
    areas = [kernel.alloc(64)[-1] for _ in range(6)]
    kernel.print(*areas, after_us=500)
    kernel.time_us += 500
    return areas


def check_found(kernel: LoggedKernel, kind: str, line_no: int, distance: int) -> str:
    """The plan has this one choice, no divergence, and ends in the kernel's own state."""
    search = kernel.search()
    plan = search.plan()
    assert plan.divergences == ()
    assert [row[:3] for row in plan.inferred] == [(line_no, kind, distance)]
    assert state_of(search.walk.engine) == state_of(kernel.engine)
    return plan.inferred[0].text


def state_of(engine: PlanEngine) -> object:
    return dump_percpu(engine.percpu), [dump_chunk(row) for row in engine.percpu.chunks.values()]


def test_an_allocation_decided_before_an_interrupts_burst(
    kernel: LoggedKernel, holes: list[TraceEvent]
) -> None:
    decided = kernel.alloc(64, flags="...1")[-1]
    burst = [kernel.free(area, flags="..s1") for area in holes[1:4]]
    kernel.print(*burst)
    line_no = kernel.print(decided)
    kernel.print(*kernel.alloc(64), after_us=90)
    text = check_found(kernel, "before burst", line_no, 3)
    assert "before the 3 interrupt lines" in text
    assert "expected offset 384 of the first chunk, got offset 64 of the first chunk" in text


def test_an_allocation_decided_before_another_cpus_line(
    kernel: LoggedKernel, holes: list[TraceEvent]
) -> None:
    decided = kernel.alloc(64)[-1]
    line_no = kernel.print(kernel.free(holes[2], cpu=1, pid=200), decided)
    kernel.print(*kernel.alloc(64), after_us=90)
    check_found(kernel, "before other CPU", line_no, 1)


def test_an_allocation_decided_three_lines_earlier(
    kernel: LoggedKernel, holes: list[TraceEvent]
) -> None:
    kernel.print(kernel.free(holes[5], cpu=1, pid=200))
    decided = kernel.alloc(64)[-1]
    frees = [kernel.free(area, cpu=1, pid=200) for area in holes[1:4]]
    line_no = kernel.print(*frees, decided)
    kernel.print(*kernel.alloc(64), after_us=90)
    check_found(kernel, "before other CPU", line_no, 3)


def test_an_allocation_printed_late_was_decided_before(
    kernel: LoggedKernel, holes: list[TraceEvent]
) -> None:
    kernel.print(kernel.free(holes[2]))
    first = kernel.alloc(64, cpu=1, pid=200)[-1]
    second = kernel.alloc(64)[-1]
    line_no = kernel.print(second, first)
    kernel.print(*kernel.alloc(64), after_us=90)
    check_found(kernel, "later line", line_no, 1)


def test_a_line_too_old_is_not_passed(kernel: LoggedKernel, holes: list[TraceEvent]) -> None:
    decided = kernel.alloc(64)[-1]
    kernel.print(kernel.free(holes[2], cpu=1, pid=200))
    kernel.print(decided, after_us=401)
    plan = kernel.plan()
    assert plan.inferred == ()
    assert len(plan.divergences) == 1


def test_its_own_task_is_never_passed(kernel: LoggedKernel, holes: list[TraceEvent]) -> None:
    decided = kernel.alloc(64)[-1]
    kernel.print(kernel.free(holes[2]), decided)
    assert len(kernel.plan().divergences) == 1


def test_a_run_of_the_work_that_came_later(kernel: LoggedKernel) -> None:
    areas = []
    for _ in range(4):
        lines = kernel.alloc(30000)
        kernel.print(*lines, after_us=100)
        areas.append(lines[-1])
    kernel.print(*(kernel.free(area) for area in areas[:3]), after_us=100)
    kernel.print(*kernel.alloc(64), *kernel.alloc(64), after_us=100)
    kernel.print(*kernel.work(), after_us=100)
    kernel.print(*kernel.alloc(64), after_us=100)
    search = kernel.search()
    plan = search.plan()
    assert plan.divergences == ()
    assert {row.kind for row in plan.inferred} == {"work moved"}
    assert "the work is over" in plan.inferred[0].text
    assert state_of(search.walk.engine) == state_of(kernel.engine)


def test_a_choice_that_was_wrong_is_put_back(kernel: LoggedKernel, holes: list[TraceEvent]) -> None:
    line_no = kernel.print(
        kernel.free(holes[2], cpu=1, pid=200), kernel.alloc(64)[-1], kernel.alloc(64)[-1]
    )
    search = kernel.search()
    search.walk.choose(Choices().with_early(line_no - 2, line_no - 3))
    search.choices = search.walk.choices
    plan = search.plan()
    assert plan.divergences == ()
    assert [(row.kind, row.line_no) for row in plan.inferred] == [("put back", line_no - 1)]
    assert state_of(search.walk.engine) == state_of(kernel.engine)


def test_cpus_that_took_turns_while_the_clock_stood_still(kernel: LoggedKernel) -> None:
    turns = [kernel.alloc(64, cpu=turn % 2, pid=100 + turn % 2)[-1] for turn in range(6)]
    kernel.print(*sorted(turns, key=lambda event: event.cpu or 0), after_us=0)
    kernel.print(*kernel.alloc(64), after_us=50)
    search = kernel.search()
    plan = search.plan()
    assert (plan.inferred, plan.divergences, plan.nr_ties_sorted) == ((), (), 1)
    assert state_of(search.walk.engine) == state_of(kernel.engine)


def test_what_nothing_explains_is_a_divergence_and_is_taken_over(
    kernel: LoggedKernel, holes: list[TraceEvent]
) -> None:
    last = holes[-1]
    line_no = kernel.print(last._replace(off=1024, ptr=last.ptr + 1024 - last.off))
    kernel.engine.percpu.adopt_area(0, 1024, 64)
    kernel.print(*(kernel.alloc(64)[-1] for _ in range(3)), after_us=100)
    search = kernel.search()
    plan = search.plan()
    found = plan.divergences
    assert [(row.line_no, row.kind) for row in found] == [(line_no, "place")]
    assert found[0].expected == "offset 1024 of the first chunk"
    assert found[0].got == "offset 384 of the first chunk"
    assert "chunk 0: free" in found[0].around
    assert "[320+64]" in found[0].around
    assert plan.inferred == ()
    areas = [(off * 4, bits * 4) for off, bits in search.walk.engine.percpu.chunks[0].areas()]
    assert (1024, 64) in areas
    assert areas == [(off * 4, bits * 4) for off, bits in kernel.engine.percpu.chunks[0].areas()], (
        "what follows is judged with the place taken over"
    )


def test_chunks_that_nothing_explains_are_divergences_too(kernel: LoggedKernel) -> None:
    kernel.print(*kernel.alloc(64))
    created = kernel.alloc(30000)[0]._replace(task="kworker/0:1", pid=9)
    line_no = kernel.print(created, after_us=100)
    destroyed = created._replace(kind="destroy")
    kernel.print(destroyed, after_us=100)
    plan = kernel.plan()
    assert [(row.line_no, row.kind) for row in plan.divergences] == [
        (line_no, "chunk"),
        (line_no + 1, "chunk"),
    ]
    assert [action.do for action in plan.actions][-2:] == ["force_create", "force_destroy"]


def with_work_asked_for(kernel: LoggedKernel) -> None:
    """Four chunks made, three of them wholly free again: the work is asked for, to destroy some."""
    areas = []
    for _ in range(4):
        lines = kernel.alloc(30000)
        kernel.print(*lines, after_us=100)
        areas.append(lines[-1])
    kernel.print(*(kernel.free(area) for area in areas[:3]), after_us=100)


def test_a_run_of_the_work_that_no_line_tells_is_left_out(kernel: LoggedKernel) -> None:
    """Taking over the line at which it would be due changes nothing: so it was tried for ever."""
    with_work_asked_for(kernel)
    for _ in range(6):
        kernel.print(*kernel.alloc(64), after_us=100)
    search = kernel.search()
    plan = search.plan()
    (found,) = plan.divergences
    assert (found.kind, found.expected) == ("chunk", "no more chunk events")
    assert found.got.startswith("destroy chunk")
    assert state_of(search.walk.engine) == state_of(kernel.engine)
    assert "work" not in [action.do for action in plan.actions]


def test_a_try_that_leads_nowhere_counts_too(
    kernel: LoggedKernel,
) -> None:
    """Else a log that fails at its first line could be tried without end."""
    kernel.print(*kernel.alloc(64))
    kernel.events[0] = kernel.events[0]._replace(off=4096)
    kernel.print(*kernel.alloc(64, cpu=1, pid=200), *kernel.alloc(64, cpu=2, pid=300))
    search = kernel.search()
    assert search.plan().divergences
    assert search.nr_walked >= search.nr_tried > 0


def test_an_empty_log_has_an_empty_plan(kernel: LoggedKernel) -> None:
    plan = kernel.plan()
    assert (plan.actions, plan.inferred, plan.divergences, plan.nr_tried) == ((), (), (), 0)


def test_without_times_bursts_are_still_found(
    kernel: LoggedKernel, holes: list[TraceEvent]
) -> None:
    decided = kernel.alloc(64)[-1]
    kernel.print(*(kernel.free(area, flags="..s.") for area in holes[1:4]), decided)
    plan = kernel.plan(timed=False)
    assert plan.divergences == ()
    assert [row.kind for row in plan.inferred] == ["before burst"]


OPS = st.lists(
    st.tuples(
        st.sampled_from(["alloc", "alloc", "free"]),
        st.sampled_from([4, 64, 1000, 8192, 30000]),
        st.integers(0, 3),
        st.sampled_from([2, 60]),
        st.booleans(),
    ),
    max_size=60,
)


def logged(ops: list[tuple[str, int, int, int, bool]]) -> LoggedKernel:
    """A kernel whose lines are printed as they are decided, the work in the gap it belongs to."""
    kernel = LoggedKernel(CONFIG)
    live: list[TraceEvent] = []
    last: tuple[int, int] | None = None
    kernel.print(*kernel.alloc(4))
    for what, size, cpu, after_us, atomic in ops:
        here = (cpu, 100 + cpu)
        if kernel.engine.asked_cpu >= 0:
            kernel.print(*kernel.work(cpu=kernel.engine.asked_cpu), after_us=100)
        if what == "alloc" or not live:
            lines = kernel.alloc(size, cpu=here[0], pid=here[1], atomic=atomic)
            live += [line for line in lines if line.kind == "alloc"]
        else:
            lines = [kernel.free(live.pop(size % len(live)), cpu=here[0], pid=here[1])]
        kernel.print(*lines, after_us=100 if last != here else max(after_us, 60))
        last = here
    if kernel.engine.asked_cpu >= 0:
        kernel.print(*kernel.work(cpu=kernel.engine.asked_cpu), after_us=100)
    return kernel


@settings(deadline=None, max_examples=60)
@given(OPS)
def test_a_log_in_its_own_order_needs_no_choice(ops: list[tuple[str, int, int, int, bool]]) -> None:
    kernel = logged(ops)
    plan = kernel.plan()
    assert (plan.inferred, plan.divergences, plan.nr_tried) == ((), (), 0)


@settings(deadline=None, max_examples=40)
@given(OPS, st.data())
def test_the_same_log_gives_the_same_plan(
    ops: list[tuple[str, int, int, int, bool]], data: st.DataObject
) -> None:
    kernel = logged(ops)
    places = st.integers(0, len(kernel.events) - 1)
    for _ in range(2):
        one, other = data.draw(places), data.draw(places)
        kernel.events[one], kernel.events[other] = kernel.events[other], kernel.events[one]
    renumbered = [row._replace(line_no=n) for n, row in enumerate(kernel.events, 1)]
    order = order_lines(log_of(renumbered))
    with mock.patch.object(
        ordering, "WALKED_LINES_MAX", 20_000
    ):  # a log of nonsense is searched long
        plans = [
            OrderSearch(order, PlanEngine(kernel.info), kernel.bases[0]).plan() for _ in range(2)
        ]
    assert plans[0] == plans[1]
    told = [row.line_no for row in plans[0].divergences]
    assert len(told) == len(set(told)), "each line is at most one divergence"


@pytest.mark.parametrize("name", ["formats-2cpu", "nr_cpus3-of-8"])
def test_another_hash_seed_makes_the_same_choices(name: str) -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS, str(GOLDEN / "kernel-6.1" / name)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    assert "'lines'" in outputs.pop()
