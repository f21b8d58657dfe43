"""When did an expression change, and through whom? Every change of a segment, found once and kept.

    segment    0            1            2  (open, grows)
    value      7 ── 7       7 ─ 9 ─ 4    4 ── 4 ···
    rows       none         two          none so far        known up to a step each

A question needs only the segments between where it is asked and its answer. A segment is gone through
by a scout (scout.py), step by step, and looked at after each; its rows stay until the budget of rows is
used up, then those asked for longest ago go. Searches are generators: each slice is some milliseconds of
work, yields how far it is, and may be the last that anybody asks for.

A change at step s is the difference between the states at s - 1 and at s. What an expression was at the
first step was there from the beginning and is no change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final, NamedTuple, TypeAlias, TypeVar

from kernel_sim.events import EVENT_NAMES, EventAt, PercpuAllocPercpu
from snapshots.history.compiled import Compiled, is_true
from snapshots.history.scout import Scout
from snapshots.history.sight import Sight, Value
from snapshots.segment import SegmentBody
from snapshots.timeline import Timeline

SLICE_S: Final = 0.012
STEPS_BETWEEN_LOOKS: Final = 16  # at the clock
ROWS_MAX: Final = 200_000
CHANGES_MAX: Final = 10_000

T = TypeVar("T")
Search: TypeAlias = Generator[int, None, T]
"""Yields the step that was looked at last; its result is the answer."""


class Change(NamedTuple):
    """One change: the first step at which the value is new, and who took that step.

    cpu is -1 and do empty if it cannot be told; events: names of those of the same step.
    """

    step: int
    old: Value
    new: Value
    cpu: int
    do: str
    events: tuple[str, ...]


Wanted: TypeAlias = Callable[[Change], bool]


def any_change(row: Change) -> bool:
    """Every change is wanted."""
    return True


def becomes_true(row: Change) -> bool:
    """Say whether a condition was false before and is true from this step on."""
    return is_true(row.new) and not is_true(row.old)


@dataclass(slots=True)
class Stretch:
    """What is known of an expression in one segment: value is that at the step known."""

    number: int
    known: int
    value: Value = None
    rows: list[Change] = field(default_factory=list)
    happened: dict[str | int, int] = field(default_factory=dict)  # counted up to `known`
    nr_events: int = 0  # of this segment, up to `known`
    is_begun: bool = False  # value holds


@dataclass(slots=True)
class ChangeIndex:
    """All that is known of the changes on one timeline; rows_max bounds how much is kept."""

    timeline: Timeline
    rows_max: int = ROWS_MAX
    slice_s: float = SLICE_S
    nr_steps_scanned: int = 0
    _scout: Scout = field(init=False)
    _kept: OrderedDict[tuple[str, int], Stretch] = field(default_factory=OrderedDict)
    _nr_rows: int = 0
    _counted: dict[str, list[dict[str | int, int]]] = field(default_factory=dict)
    _open_number: int = field(init=False)  # of the open segment, as it was seen last
    _open_body: SegmentBody = field(init=False)

    def __post_init__(self) -> None:
        """Send nobody yet."""
        self._scout = Scout(self.timeline)
        self._note_open()

    # -- questions ---------------------------------------------------------------------------------

    def last(
        self, of: Compiled, at: int, *, least: int | None = None, wanted: Wanted = any_change
    ) -> Search[Change | None]:
        """Find the newest change at or before a step, none before `least`."""
        low = max(self.timeline.first_step + 1, least or 0)
        at = min(at, self.timeline.end_step)
        for number in range(self._segment_of(at), -1, -1):
            head = self.timeline.heads[number]
            if at < low or self._end_of(number) < low:
                break
            goal = min(at, self._end_of(number))
            stretch = yield from self._begun(of, number, told=goal)
            while stretch.known < goal:
                self._slice(of, stretch, goal)
                yield goal - (stretch.known - head.first_step)
            end = bisect_right(stretch.rows, at, key=_step_of)
            for row in reversed(stretch.rows[:end]):
                if row.step < low:
                    return None
                if wanted(row):
                    return row
        return None

    def next(
        self, of: Compiled, at: int, *, most: int | None = None, wanted: Wanted = any_change
    ) -> Search[Change | None]:
        """Find the first change behind a step, none behind `most`."""
        high = self.timeline.end_step if most is None else min(most, self.timeline.end_step)
        for number in range(self._segment_of(at), len(self.timeline.heads)):
            if self.timeline.heads[number].first_step >= high:
                break
            goal = min(high, self._end_of(number))
            stretch = yield from self._begun(of, number)
            looked_at = bisect_right(stretch.rows, at, key=_step_of)
            while True:
                for row in stretch.rows[looked_at:]:
                    if row.step > high:
                        return None
                    if row.step > at and wanted(row):
                        return row
                looked_at = len(stretch.rows)
                if stretch.known >= goal:
                    break
                self._slice(of, stretch, goal)
                yield stretch.known
        return None

    def changes(
        self, of: Compiled, low: int, high: int, *, rows_max: int = CHANGES_MAX
    ) -> Search[tuple[Change, ...]]:
        """Find all changes behind `low` and up to `high`, oldest first, at most so many."""
        found: list[Change] = []
        high = min(high, self.timeline.end_step)
        for number in range(self._segment_of(low), len(self.timeline.heads)):
            head = self.timeline.heads[number]
            if head.first_step >= high or len(found) >= rows_max:
                break
            goal = min(high, self._end_of(number))
            stretch = yield from self._begun(of, number)
            while stretch.known < goal:
                self._slice(of, stretch, goal)
                yield stretch.known
            first = bisect_right(stretch.rows, low, key=_step_of)
            end = bisect_right(stretch.rows, high, key=_step_of)
            found += stretch.rows[first:end]
        return tuple(found[:rows_max])

    def value_at(self, of: Compiled, step: int) -> Search[Value]:
        """Find what an expression was at a step."""
        number = self._segment_of(step)
        stretch = yield from self._begun(of, number)
        while stretch.known < step:
            self._slice(of, stretch, step)
            yield stretch.known
        index = bisect_right(stretch.rows, step, key=_step_of)
        if index:
            return stretch.rows[index - 1].new
        return stretch.rows[0].old if stretch.rows else stretch.value

    def sight_at_present(self, of: Compiled) -> Search[Sight]:
        """Return what the expression is looked up in where the timeline stands."""
        timeline = self.timeline
        number = self._segment_of(timeline.step)
        happened = yield from self._happened_before(of, number, timeline.step)
        nr_events = timeline.events_before(timeline.step)
        inside = timeline.body(number).events[: nr_events - timeline.heads[number].first_event]
        happened = dict(happened)
        for at in inside:
            _count(happened, of, at)
        return Sight(timeline.machine, nr_events, happened)

    def adopt(self, other: ChangeIndex) -> None:
        """Take over what is known of segments that another branch shares with this one."""
        other._forget_what_was_open()
        closed = len(self.timeline.heads) - 1
        for (text, number), stretch in other._kept.items():
            heads = other.timeline.heads
            shared = number < min(closed, len(heads) - 1)
            if shared and heads[number] is self.timeline.heads[number]:
                rows, happened = list(stretch.rows), dict(stretch.happened)
                self._kept[text, number] = replace(stretch, rows=rows, happened=happened)
                self._nr_rows += 1 + len(rows)

    # -- going through a segment -------------------------------------------------------------------

    def _segment_of(self, step: int) -> int:
        heads = self.timeline.heads
        return max(bisect_right(heads, step, key=lambda head: head.first_step) - 1, 0)

    def _end_of(self, number: int) -> int:
        timeline = self.timeline
        is_open = number == len(timeline.heads) - 1
        return timeline.end_step if is_open else timeline.heads[number].last_step

    def _begun(self, of: Compiled, number: int, told: int | None = None) -> Search[Stretch]:
        """Return what is known of a segment, at least its first value; told is where it says to be."""
        self._forget_what_was_open()
        key = (of.text, number)
        head = self.timeline.heads[number]
        told = head.first_step if told is None else told
        stretch = self._kept.get(key)
        if stretch is None:
            happened = yield from self._happened_before(of, number, told)
            stretch = Stretch(number, head.first_step, happened=dict(happened))
            self._kept[key] = stretch
            self._nr_rows += 1
        self._kept.move_to_end(key)
        self._forget_oldest()
        while not stretch.is_begun:
            self._slice(of, stretch, stretch.known)
            yield told
        return stretch

    def _slice(self, of: Compiled, stretch: Stretch, goal: int) -> None:
        """Go on towards a step for a slice's time, and look after every step behind the known ones."""
        deadline = perf_counter() + self.slice_s
        scout, head = self._scout, self.timeline.heads[stretch.number]
        if not scout.approach(stretch.number, stretch.known):
            return
        nr_before = len(stretch.rows)
        sight = Sight(scout.machine, head.first_event + stretch.nr_events, stretch.happened)
        if not stretch.is_begun:
            if not self._catch_up(stretch, deadline):
                return
            stretch.value = of.get(sight)
            stretch.is_begun = True
        if self._catch_up(stretch, deadline):
            self._look(of, stretch, sight, goal, deadline)
        scout.machine.take_events()  # the timeline has them
        if self._kept.get((of.text, stretch.number)) is stretch:
            self._nr_rows += len(stretch.rows) - nr_before

    def _catch_up(self, stretch: Stretch, deadline: float) -> bool:
        """Let the scout go to where the stretch is known up to; False if the time is over before."""
        scout = self._scout
        while scout.step < stretch.known:
            for _ in range(min(STEPS_BETWEEN_LOOKS, stretch.known - scout.step)):
                scout.take_step()
            if perf_counter() > deadline:
                return scout.step >= stretch.known
        return True

    def _look(
        self, of: Compiled, stretch: Stretch, sight: Sight, goal: int, deadline: float
    ) -> None:
        scout, get = self._scout, of.get
        first_event = self.timeline.heads[stretch.number].first_event
        events, at = scout.body.events, stretch.nr_events
        is_counted = bool(of.events or of.ptrs)
        value = stretch.value
        begun_at = step = stretch.known
        scout.take_written()
        while step < goal:
            scout.take_step()
            step = scout.step
            while at < len(events) and events[at].step <= step:
                if is_counted:
                    _count(sight.happened, of, events[at])
                at += 1
            if not of.only_memory or scout.take_written():
                sight.nr_events = first_event + at
                new = get(sight)
                if new != value:
                    stretch.rows.append(self._row(step, value, new))
                    value = new
            stretch.known, stretch.value, stretch.nr_events = step, value, at
            if not step % STEPS_BETWEEN_LOOKS and perf_counter() > deadline:
                break
        self.nr_steps_scanned += step - begun_at

    def _row(self, step: int, old: Value, new: Value) -> Change:
        doer = self._scout.doer()
        events = self._scout.body.events
        first = bisect_left(events, step, key=_step_of_event)
        end = bisect_right(events, step, key=_step_of_event)
        names = dict.fromkeys(EVENT_NAMES[type(at.event)] for at in events[first:end])
        return Change(step, old, new, doer.cpu, doer.do, tuple(names))

    def _happened_before(
        self, of: Compiled, number: int, told: int
    ) -> Search[dict[str | int, int]]:
        """Return what must be counted for an expression, up to the beginning of a segment."""
        if not of.events and not of.ptrs:
            return {}
        known = self._counted.setdefault(of.text, [{}])
        while len(known) <= number:
            counts = dict(known[-1])
            for at in self.timeline.body(len(known) - 1).events:
                _count(counts, of, at)
            known.append(counts)
            yield told
        return known[number]

    def _note_open(self) -> None:
        self._open_number = len(self.timeline.heads) - 1
        self._open_body = self.timeline.open_body

    def _forget_what_was_open(self) -> None:
        """Let go of an open segment that is another now: a file that is followed may tell it otherwise.

        Steps that the reader has let the machine take beyond the file's end are then taken back.
        """
        if self.timeline.open_body is self._open_body:
            return
        for key in [key for key in self._kept if key[1] >= self._open_number]:
            self._nr_rows -= 1 + len(self._kept.pop(key).rows)
        self._scout.number = -1
        self._note_open()

    def _forget_oldest(self) -> None:
        """Let go of what was asked for longest ago, but for the one asked for now."""
        while self._nr_rows > self.rows_max and len(self._kept) > 1:
            _, stretch = self._kept.popitem(last=False)
            self._nr_rows -= 1 + len(stretch.rows)


def _step_of(row: Change) -> int:
    return row.step


def _step_of_event(at: EventAt) -> int:
    return at.step


def _count(counts: dict[str | int, int], of: Compiled, at: EventAt) -> None:
    """Count an event if the expression asks for it: by its name, or by the place it allocated."""
    name = EVENT_NAMES[type(at.event)]
    if name in of.events:
        counts[name] = counts.get(name, 0) + 1
    if isinstance(at.event, PercpuAllocPercpu) and at.event.ptr in of.ptrs:
        counts[at.event.ptr] = counts.get(at.event.ptr, 0) + 1


def run_now(search: Search[T]) -> T:
    """Return a search's answer at once; for scripts and tests."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            answer: T = end.value
            return answer
