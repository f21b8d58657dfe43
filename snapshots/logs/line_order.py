"""A log's lines as the search for their order sees them: who follows whom on a CPU, and what is a burst.

    position   0    1    2    3    4    5    6         (file order, ties put right)
    CPU 0      A    f    f    .    .    A    .         1-2: a burst of an interrupt, before the A at 5?
    CPU 1      .    .    .    A    A    .    f

Two facts are worked out here once. An *uninterrupted run*: lines of one CPU and one PID that follow each
other within GAP_NS; nothing else can have run on that CPU between them. A *burst*: the lines of an
interrupt that directly precede a line of the task they interrupted.

Equal stamps: the global clock never runs backwards, so a CPU whose counter lags repeats the last stamp, and
the reader merges equal stamps in CPU order. In reality the CPUs took turns; so do the lines here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snapshots.logs.trace_log import TraceEvent, TraceLog

GAP_NS = 30_000
TIE_LINES_MIN = 3
IRQ_FLAGS = "shHZz"
IRQ_FLAG_AT = 2


@dataclass(slots=True)
class Line:
    """One line of the log at its place in the order, with what was worked out about it."""

    event: TraceEvent
    cpu: int
    in_irq: bool
    by_kworker: bool
    run_end: int = 0  # position of the last line of the uninterrupted run it belongs to
    burst_start: int = -1  # position of the first line of the burst right before it, or -1
    gap_ns: int = -1  # from its run's end to the next line of its CPU; -1: there is none


@dataclass(slots=True)
class LineOrder:
    """All lines in the order in which they are walked."""

    lines: list[Line]
    timed: bool  # stamps are times, so that gaps mean something
    nr_ties_sorted: int
    of_cpu: dict[int, list[int]]  # positions of each CPU's lines

    def gap(self, earlier: int, later: int) -> int:
        """Return the nanoseconds from one line to another; 0 where the clock does not count time."""
        if not self.timed:
            return 0
        first, second = self.lines[earlier].event.stamp, self.lines[later].event.stamp
        return (second or 0) - (first or 0)


def order_lines(log: TraceLog) -> LineOrder:
    """Return the log's percpu lines with ties put right and runs and bursts found."""
    events = [event for event in log.events if event.kind != "mark"]
    timed = log.stamp_is_time
    events, nr_ties = take_turns(events) if timed else (events, 0)
    kworkers = {event.pid for event in log.events if event.task.startswith("kworker/")}
    lines = [
        Line(
            event,
            event.cpu or 0,
            (event.flags or "").ljust(IRQ_FLAG_AT + 1, ".")[IRQ_FLAG_AT] in IRQ_FLAGS,
            event.pid in kworkers or event.task == "<...>",
        )
        for event in events
    ]
    of_cpu: dict[int, list[int]] = {}
    for position, line in enumerate(lines):
        of_cpu.setdefault(line.cpu, []).append(position)
    order = LineOrder(lines, timed, nr_ties, of_cpu)
    for positions in of_cpu.values():
        _find_runs(order, positions)
        _find_bursts(lines, positions)
    return order


def take_turns(events: list[TraceEvent]) -> tuple[list[TraceEvent], int]:
    """Interleave the CPUs within each run of equal stamps; returns the events and how many runs."""
    ordered: list[TraceEvent] = []
    nr_sorted = 0
    at = 0
    while at < len(events):
        end = at + 1
        while end < len(events) and events[end].stamp == events[at].stamp:
            end += 1
        tied = events[at:end]
        if len(tied) >= TIE_LINES_MIN and len({event.cpu for event in tied}) > 1:
            tied = _interleave(tied)
            nr_sorted += 1
        ordered += tied
        at = end
    return ordered, nr_sorted


def _interleave(tied: Sequence[TraceEvent]) -> list[TraceEvent]:
    queues: dict[int, list[TraceEvent]] = {}
    for event in tied:
        queues.setdefault(event.cpu or 0, []).append(event)
    turns: list[TraceEvent] = []
    for turn in range(max(map(len, queues.values()))):
        turns += [queues[cpu][turn] for cpu in sorted(queues) if turn < len(queues[cpu])]
    return turns


def _find_runs(order: LineOrder, positions: list[int]) -> None:
    end = len(positions) - 1
    gap_ns = -1
    for index in range(len(positions) - 1, -1, -1):
        line = order.lines[positions[index]]
        if index + 1 < len(positions):
            following = order.lines[positions[index + 1]]
            gap = order.gap(positions[index], positions[index + 1])
            if following.event.pid != line.event.pid or gap > GAP_NS:
                end, gap_ns = index, gap
        line.run_end = positions[end]
        line.gap_ns = gap_ns


def _find_bursts(lines: list[Line], positions: list[int]) -> None:
    start = -1
    for index, position in enumerate(positions):
        line = lines[position]
        before = lines[positions[index - 1]] if index else None
        if before is None or before.event.pid != line.event.pid or not before.in_irq:
            start = -1
        if line.in_irq:
            start = position if start < 0 else start
        else:
            line.burst_start = start
            start = -1
