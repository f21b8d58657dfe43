"""Runs, bursts and ties of a log's lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snapshots.logs.line_order import GAP_NS, LineOrder, order_lines, take_turns
from snapshots.logs.trace_log import TraceEvent
from tests.snapshots.conftest import log_of


def line(
    stamp_us: int, cpu: int = 0, pid: int = 1, flags: str = "....", task: str = "a"
) -> TraceEvent:
    return TraceEvent(0, "free", task, pid, cpu, flags, stamp_us * 1000)


def ordered(*events: TraceEvent, timed: bool = True) -> LineOrder:
    numbered = [event._replace(line_no=number) for number, event in enumerate(events, 1)]
    return order_lines(log_of(numbered, timed=timed))


def test_a_run_ends_at_a_gap_at_another_task_and_at_the_end() -> None:
    gap_us = GAP_NS // 1000
    order = ordered(
        line(0), line(gap_us), line(2 * gap_us + 1), line(2 * gap_us + 2, pid=2), line(2 * gap_us + 3)
    )  # fmt: skip
    assert [row.run_end for row in order.lines] == [1, 1, 2, 3, 4]
    assert [row.gap_ns for row in order.lines] == [GAP_NS + 1000, GAP_NS + 1000, 1000, 1000, -1]


def test_lines_of_another_cpu_do_not_end_a_run() -> None:
    order = ordered(line(0), line(1, cpu=1, pid=2), line(2), line(3, cpu=1, pid=2))
    assert [row.run_end for row in order.lines] == [2, 3, 2, 3]
    assert order.of_cpu == {0: [0, 2], 1: [1, 3]}


def test_without_time_only_another_task_ends_a_run() -> None:
    order = ordered(line(0), line(10_000_000), line(20_000_000, pid=2), timed=False)
    assert [row.run_end for row in order.lines] == [1, 1, 2]
    assert order.gap(0, 1) == 0


def test_a_burst_is_the_interrupt_lines_right_before_a_line_of_their_task() -> None:
    order = ordered(
        line(0), line(1, flags="..s."), line(2, cpu=1, pid=5), line(3, flags="d.h."), line(4), line(5)
    )  # fmt: skip
    assert [row.burst_start for row in order.lines] == [-1, -1, -1, -1, 1, -1]


def test_interrupt_lines_of_another_task_are_no_burst() -> None:
    order = ordered(line(0, flags="..s.", pid=7), line(1), line(2, flags="..s."), line(3, pid=7))
    assert [row.burst_start for row in order.lines] == [-1, -1, -1, -1]


def test_every_flag_of_an_interrupt_is_known_and_short_flags_are_none() -> None:
    flags = ["..s.", "..h.", "..H.", "..Z.", "..z.", "....", "..", "", "s...", "...s"]
    order = ordered(*(line(number, flags=text) for number, text in enumerate(flags)))
    assert [row.in_irq for row in order.lines] == [True] * 5 + [False] * 5


def test_a_kworker_is_known_by_its_pid_wherever_its_name_is_missing() -> None:
    order = ordered(
        line(0, pid=9, task="<...>"), line(1, pid=9, task="kworker/0:1"), line(2, pid=3, task="sh"),
        line(3, pid=9, task="sh"),
    )  # fmt: skip
    assert [row.by_kworker for row in order.lines] == [True, True, False, True]


def test_cpus_take_turns_where_the_clock_stood_still() -> None:
    tied = [line(5, cpu) for cpu in (0, 0, 0, 1, 1, 2)]
    events = [line(1), *tied, line(6)]
    numbered = [event._replace(line_no=number) for number, event in enumerate(events, 1)]
    turns, nr_sorted = take_turns(numbered)
    assert [event.line_no for event in turns] == [1, 2, 5, 7, 3, 6, 4, 8]
    assert nr_sorted == 1


def test_two_lines_and_the_lines_of_one_cpu_stay_as_they_are() -> None:
    events = [line(1, 0), line(1, 1), line(2, 0), line(2, 0), line(2, 0)]
    assert take_turns(events) == (events, 0)


def test_stamps_that_are_no_times_are_no_ties() -> None:
    order = ordered(line(5, 0), line(5, 0), line(5, 1), line(5, 1), timed=False)
    assert [row.event.line_no for row in order.lines] == [1, 2, 3, 4]
    assert order.nr_ties_sorted == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=30))
def test_turns_keep_every_line_and_the_order_of_each_cpu(rows: list[tuple[int, int]]) -> None:
    events = [
        line(stamp, cpu)._replace(line_no=number)
        for number, (stamp, cpu) in enumerate(sorted(rows, key=lambda row: row[0]))
    ]
    turns, _ = take_turns(events)
    assert sorted(event.line_no for event in turns) == list(range(len(events)))
    assert [event.stamp for event in turns] == [event.stamp for event in events]
    for cpu in range(4):
        assert [e for e in turns if e.cpu == cpu] == [e for e in events if e.cpu == cpu]


def test_marks_are_no_lines_and_missing_fields_are_allowed() -> None:
    bare = TraceEvent(2, "free", "", -1, None, None, None)
    mark = TraceEvent(1, "mark", "sh", 4, 0, "....", 5)
    order = order_lines(log_of([mark, bare], timed=False))
    assert [row.event.line_no for row in order.lines] == [2]
    assert (order.lines[0].cpu, order.lines[0].in_irq) == (0, False)
    assert ordered().lines == []
