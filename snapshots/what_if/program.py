"""A run's inputs as a program: who names whose result, and what each waited for; played again, or in part.

    recorded     step 0: pcpu_alloc   step 6: pcpu_alloc   step 6: free_percpu   step 9: pcpu_alloc
    program      when idle            when idle            0 steps after it      3 steps after it

An input that was given to an idle machine is given when it is idle again. One that came while calls were
under way keeps its distance in steps to the input before it, so that interleavings survive; if the machine
falls idle before, it comes then; if all inputs of its stretch before it are gone, it opens the stretch. An
input that names a result never comes before the call that gives it has ended. At a fault nothing more is
given. Whoever plays all rows unaltered gets the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from kernel_sim.call import Arg, Call
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts
from snapshots.errors import InputRefused
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.what_if.rebinding import GIVES, NAME, Reference, rebound

SLICE_STEPS = 2000
SLICE_ROWS = 16
Worth = TypeVar("Worth")
Progress = Callable[[int, int], None]
Told = tuple[int, int]  # how far, of how much


class Row(NamedTuple):
    """One input of a program. when_idle: it waits for an idle machine; stretch: the row that did last.

    number and step are those of the recording. version tells alterations of one row apart.
    """

    number: int
    do: str
    cpu: int
    args: tuple[Arg, ...]
    step: int
    stretch: int
    when_idle: bool
    references: tuple[Reference, ...] = ()
    line: int = 0
    by: str = ""
    version: int = 0


@dataclass(slots=True)
class Program:
    """All rows of a run, and where it begins and ends.

    results: what the calls gave that others name. tail_steps: how far the run went beyond its last input
    if calls were still under way, else None.
    """

    config: MachineConfig
    start: Parts
    rows: list[Row]
    results: dict[int, int] = field(default_factory=dict)
    tail_steps: int | None = None


class Left(NamedTuple):
    """An input that an edited run has not, by its number in the recording, and why."""

    number: int
    why: str


@dataclass(slots=True)
class Played:
    """What came of a program: the rows that were given, with the arguments they got, and the others."""

    given: list[Row] = field(default_factory=list)
    along: list[Left] = field(default_factory=list)  # dropped with what they name
    refused: list[Left] = field(default_factory=list)
    stopped: list[Left] = field(default_factory=list)  # not given: the machine stood at a fault


class Taker(Protocol):
    """A machine that takes inputs: bare, or on a timeline."""

    machine: Machine

    def advance(self, until: int) -> None:
        """Take steps up to a position, as far as it goes."""

    def give(self, row: Row, args: tuple[Arg, ...], step: int) -> int:
        """Give an input now, at a step; returns the step at which it counts as given."""

    def call_of(self, number: int) -> Call | None:
        """Return the call that a row began."""

    def take_refused(self) -> list[Left]:
        """Return which rows the machine refused since the last time."""


class BareRun:
    """A machine alone: nothing is recorded."""

    def __init__(self, machine: Machine) -> None:
        """Give inputs to this machine."""
        self.machine = machine
        self.calls: dict[int, Call] = {}
        self.refused: list[Left] = []

    def advance(self, until: int) -> None:
        """Take steps up to a position, as far as it goes."""
        self.machine.run(until)

    def give(self, row: Row, args: tuple[Arg, ...], step: int) -> int:
        """Hand an input over at once."""
        try:
            call = apply_input(self.machine, Input(step, row.do, row.cpu, args, row.line, row.by))
        except ConfigError as problem:
            self.refused.append(Left(row.number, str(problem)))
            return step
        if call is not None and row.do in GIVES:
            self.calls[row.number] = call
        return step

    def call_of(self, number: int) -> Call | None:
        """Return the call that a row began."""
        return self.calls.get(number)

    def take_refused(self) -> list[Left]:
        """Return which rows the machine refused since the last time."""
        refused, self.refused = self.refused, []
        return refused


class TimelineRun:
    """The newest moment of a timeline, which records what is given."""

    def __init__(self, timeline: Timeline) -> None:
        """Give inputs to this timeline."""
        self.timeline = timeline
        self.machine = timeline.machine
        self.index_of: dict[int, int] = {}  # row number: input number here
        self.waiting: list[tuple[int, int, str, int, tuple[Arg, ...]]] = []
        self.refused: list[Left] = []

    def advance(self, until: int) -> None:
        """Take steps up to a position; what the machine refuses on the way is noted."""
        if self.machine.step >= until:
            return
        self._until_taken(lambda: self.timeline.advance(until))
        next_input = self.timeline.next_input  # a knob may have taken the last step: others wait on
        self.waiting = [each for each in self.waiting if each[0] >= next_input]

    def _until_taken(self, work: Callable[[], Worth]) -> Worth:
        while True:
            try:
                return work()
            except InputRefused as problem:
                self._note_refused(str(problem))

    def _note_refused(self, why: str) -> None:
        """Find which of the inputs that waited the timeline has taken out again."""
        timeline = self.timeline
        for place, (index, _, *wanted) in enumerate(self.waiting):
            if index < timeline.nr_inputs:
                there = timeline.input_at(index)
                if [there.do, there.cpu, there.args] == wanted:
                    continue
            number = self.waiting.pop(place)[1]
            self.refused.append(Left(number, why))
            del self.index_of[number]
            later = self.waiting[place:]
            self.waiting[place:] = [(at - 1, *rest) for at, *rest in later]  # type: ignore[misc]
            for _, moved, *_ in later:
                self.index_of[moved] -= 1
            break
        if self.machine.step < timeline.end_step:
            timeline.seek(timeline.end_step)  # it went back to what it knows to be sound

    def give(self, row: Row, args: tuple[Arg, ...], step: int) -> int:
        """Record an input; the machine takes it when it goes on."""
        timeline = self.timeline
        index = self._until_taken(lambda: timeline.give(row.do, row.cpu, args, row.line, row.by))
        self.index_of[row.number] = index
        self.waiting.append((index, row.number, row.do, row.cpu, args))
        return timeline.input_at(index).step

    def call_of(self, number: int) -> Call | None:
        """Return the call that a row began."""
        index = self.index_of.get(number)
        return None if index is None else self.timeline.calls.get(index)

    def take_refused(self) -> list[Left]:
        """Return which rows the machine refused since the last time."""
        refused, self.refused = self.refused, []
        return refused


# -- playing ---------------------------------------------------------------------------------------


class Player:
    """Gives rows to a machine in their order, each at its time and with arguments that follow results."""

    def __init__(
        self,
        taker: Taker,
        rows: Iterable[Row],
        *,
        results: dict[int, int] | None = None,
        do_of: dict[int, str] | None = None,
        keep_raw: bool = False,
    ) -> None:
        """results, do_of: of inputs before the first row. keep_raw: numbers stay where none follows."""
        self.taker = taker
        self.machine = taker.machine
        self.rows = list(rows)
        self.results = dict(results or {})
        self.do_of = dict(do_of or {})
        self.keep_raw = keep_raw
        self.played = Played()
        self.gone: dict[int, None] = {}  # refused or dropped along
        self.before: Row | None = None
        # The step at which a row given now counts as given: a bare machine turns a knob at once and is a
        # step further then, a timeline only when it goes on.
        self.clock = taker.machine.step

    def play(self, tail_steps: int | None) -> Generator[Told, None, Played]:
        """Give all rows and run on to the end, in slices; yields how many rows are done, of how many."""
        nr_rows = len(self.rows)
        for place, row in enumerate(self.rows):
            if place % SLICE_ROWS == 0:
                yield place, nr_rows
            yield from self._wait(row, (place, nr_rows))
            if self.machine.fault is None:
                yield from self._give(row, (place, nr_rows))
            if self.machine.fault is not None and self.before is not row:
                self._stop(self.rows[place:])
                break
        goal = NO_LIMIT if tail_steps is None else self.clock + tail_steps
        yield from self._run_to(goal, (nr_rows, nr_rows))
        self._note_refused()
        self.played.given = [row for row in self.played.given if row.number not in self.gone]
        return self.played

    def _stop(self, rows: list[Row]) -> None:
        fault = self.machine.fault
        why = f"the machine stood at a fault since step {fault.step}" if fault else ""
        dropped = [row for row in rows if row.number not in self.gone]
        self.played.stopped = [Left(row.number, why) for row in dropped]

    def _wait(self, row: Row, told: Told) -> Generator[Told, None, None]:
        before = self.before
        goal = NO_LIMIT
        if before is not None and not row.when_idle and before.stretch == row.stretch:
            goal = self.clock + max(row.step - before.step, 0)
        if goal > self.clock:
            yield from self._run_to(goal, told)
            self.clock = max(self.clock, min(goal, self.machine.step))

    def _run_to(self, goal: int, told: Told) -> Generator[Told, None, None]:
        machine, taker = self.machine, self.taker
        while machine.step < goal:
            end = min(machine.step + SLICE_STEPS, goal)
            taker.advance(end)
            if machine.step < end:
                return  # nothing can run
            yield told

    def _give(self, row: Row, told: Told) -> Generator[Told, None, None]:
        for reference in row.references:
            yield from self._await_result(reference.producer, told)
        if self.machine.fault is not None:
            return
        args, why = self._args_of(row)
        if why:
            self.played.along.append(Left(row.number, why))
            self.gone[row.number] = None
            return
        self.clock = self.taker.give(row, args, self.clock)
        self.before = row
        self.do_of[row.number] = row.do
        self.played.given.append(row._replace(args=args))

    def _await_result(self, producer: int, told: Told) -> Generator[Told, None, None]:
        """Run until a call that was given has ended, or nothing moves."""
        while producer in self.do_of and producer not in self.results:
            self._note_refused()
            call = self.taker.call_of(producer)
            if producer in self.gone or (call is not None and call.done):
                return
            here = self.machine.step
            self.taker.advance(here + 1)
            if self.machine.step == here:
                self._note_refused()
                return
            self.clock = self.machine.step
            yield told

    def _args_of(self, row: Row) -> tuple[tuple[Arg, ...], str]:
        """Return the arguments, and why there are none if what one names is not there."""
        args = list(row.args)
        for reference in row.references:
            value = self._value_of(reference)
            if value is None and not self.keep_raw:
                return (), self._why_missing(reference.producer)
            if value is not None and reference.want != NAME:
                args[reference.argument] = value
        return tuple(args), ""

    def _value_of(self, reference: Reference) -> int | None:
        producer = reference.producer
        do = self.do_of.get(producer)
        if do is None or producer in self.gone:
            return None
        call = self.taker.call_of(producer)
        if call is not None and call.done:
            return rebound(reference, self.machine, do, call.result)
        known = self.results.get(producer) if call is None else None
        return None if known is None else rebound(reference, self.machine, do, known)

    def _why_missing(self, producer: int) -> str:
        if producer in self.gone or producer not in self.do_of:
            return f"it names the result of input {producer}, which was not given before it"
        return f"it names the result of input {producer}, which gave nothing"

    def _note_refused(self) -> None:
        for left in self.taker.take_refused():
            self.played.refused.append(left)
            self.gone[left.number] = None


def finished(work: Generator[Told, None, Worth], progress: Progress | None = None) -> Worth:
    """Do all of some work that goes in slices and return what came of it."""
    while True:
        try:
            told = next(work)
        except StopIteration as end:
            found: Worth = end.value
            return found
        if progress is not None:
            progress(*told)
