"""From a log to the order of operations: find the few places where the log's own order is not the kernel's.

An allocation's line is written after the lock was dropped, a free's inside it, and the background work
writes none. So the walk (walk.py) takes the log's order, and where the real allocator would have decided
otherwise than the log says, single changes are tried in a fixed sequence, each by going back to a moment
before the earliest place it touches; the first that gets LOOKAHEAD lines beyond the failure is kept:

    1  an allocation that was moved goes back               5  an earlier run of the work takes another
    2  it was decided before the interrupt burst at its side    gap, or an earlier allocation moves
    3  … a few lines of other CPUs earlier                  6  a run of the work was cut by frees
    4  … one printed later was decided before it            7  two of these together

If nothing helps it is a *divergence*: the log's placement is taken over, so that what follows can still be
judged. No clock, no chance: the same log always gives the same choices, and every choice is written down.
Why hoisting everything that could have been hoisted is no answer: most bursts really came before.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from kernel_sim.errors import InvariantBroken
from snapshots.logs.line_order import LineOrder
from snapshots.logs.plan_engine import PlanEngine
from snapshots.logs.state_moments import StateMoment
from snapshots.logs.walk import SAVE_EVERY, Action, Choices, Failure, Moment, Walk, WorkMoment

LOOKAHEAD = 150
HOP_LINES_MAX = 12
HOP_NS = 400_000
LATER_LINES_MAX = 40
NEAR_NS = 60_000
CHOICE_POINTS_MAX = 80
CUT_REQUESTS_MAX = 12
CUT_STRETCHES_MAX = 4
LATER_GAPS = 3
LONGEST_GAPS = 6
PAIR_FIRST = 14
PAIR_SECOND = 40
SEARCHED_DIVERGENCES_MAX = 12  # so many that nothing explained: another machine, another allocator
WALKED_LINES_MAX = 1_000_000  # in trying; some 15 seconds
PAIR_LINES = 400  # both changes of a pair lie near the failure: pairs are many


class Change(NamedTuple):
    """A single change to the choices; touched is the earliest line at which the walk differs."""

    kind: str  # 'put back' | 'before burst' | 'before other CPU' | 'later line' | 'work moved' | 'work cut'
    line: int
    touched: int
    distance: int
    apply: Callable[[Choices], Choices]


class Inferred(NamedTuple):
    """A choice that was kept, for the user who asks why."""

    line_no: int
    kind: str
    distance: int
    text: str


class Divergence(NamedTuple):
    """A place where the real kernel did what the allocator would not have done."""

    line_no: int
    position: int
    kind: str
    expected: str
    got: str
    around: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the machine is to do, in order, and how that order was found."""

    actions: tuple[Action, ...]
    inferred: tuple[Inferred, ...]
    divergences: tuple[Divergence, ...]
    nr_tried: int
    nr_ties_sorted: int


class OrderSearch:
    """The search over one log."""

    def __init__(
        self,
        order: LineOrder,
        engine: PlanEngine,
        first_base: int = 0,
        moments: tuple[StateMoment, ...] = (),
    ) -> None:
        """Take the lines, an allocator that did what came before them, and recorded states."""
        self.order = order
        self.walk = Walk(order, engine, first_base, moments)
        self.choices = Choices()
        self.moments: list[Moment] = [self.walk.save()]
        self.kept: dict[int, tuple[Change, Failure]] = {}  # by line; a later choice replaces
        self.divergences: dict[int, Divergence] = {}  # by line
        self.nr_tried = 0
        self.nr_walked = 0  # lines, in trying
        self.walk_moment = 0  # the recorded state at which the walk failed

    def plan(self) -> Plan:
        """Walk all lines, changing what must be changed."""
        while (failure := self._advance()) is not None:
            self._mend(failure)
        return Plan(
            tuple(self.walk.actions),
            tuple(self._tell(change, failure) for change, failure in self.kept.values()),
            tuple(self.divergences.values()),
            self.nr_tried,
            self.order.nr_ties_sorted,
        )

    def _advance(self) -> Failure | None:
        nr_lines = len(self.order.lines)
        walk = self.walk
        while walk.state.position < nr_lines:
            until = min(walk.state.position + SAVE_EVERY, nr_lines)
            failure = walk.run(until)
            if failure is not None:
                return failure
            if walk.engine.work_path is None:
                self.moments.append(walk.save())
        return None

    # -- mending -----------------------------------------------------------------------------------

    def _mend(self, failure: Failure) -> None:
        """Keep the change that helps best, or take the line over from the log."""
        around = self._around(failure)
        self.walk_moment = self.walk.state.next_moment
        found = self._search(failure)
        if found:
            for change in found:
                self.choices = change.apply(self.choices)
                self.kept[change.line] = (change, failure)
            touched = min(change.touched for change in found)
        elif failure.kind == "state":
            touched = failure.at
            self.choices = self.choices.without_state(self.walk_moment)
        else:
            touched = self._follow_the_log(failure)
            self._tell_divergence(failure, around)
        self._go_back(self.choices, touched)

    def _follow_the_log(self, failure: Failure) -> int:
        """Do at a failure what the log says; returns the earliest line at which the walk differs.

        Each time that is something new, so that a log of nonsense has an end too.
        """
        position = failure.line if failure.asking < 0 else failure.asking
        if failure.asking >= 0:  # the work did what no line tells: no line can be taken over
            self.choices = self.choices.without_work(position)
        elif position in self.choices.forced:
            raise InvariantBroken(
                f"line {self._line_no(position)} was taken over from the log and fails all the same:"
                f" expected {failure.expected}, got {failure.got}"
            )
        else:
            self.choices = self.choices.with_forced(position, failure.kind)
        touched = min(failure.at, position)
        return min(touched, self.choices.early.get(position, touched))

    def _tell_divergence(self, failure: Failure, around: str) -> None:
        """Note what nothing explained; a line at which that happens again is told once."""
        position = failure.line
        what = (failure.kind, failure.expected, failure.got, around)
        self.divergences.setdefault(position, Divergence(self._line_no(position), position, *what))

    def _line_no(self, position: int) -> int:
        return self.order.lines[position].event.line_no

    def _search(self, failure: Failure) -> list[Change]:
        """Return the changes that help best; a log that nothing explains is not searched for ever."""
        if len(self.divergences) >= SEARCHED_DIVERGENCES_MAX or self.nr_walked >= WALKED_LINES_MAX:
            return []
        asked = dict(self.walk.asked)
        emptied = [at for at in self.walk.emptied if at <= failure.at]
        goal = min(failure.at + 1 + LOOKAHEAD, len(self.order.lines))
        best: list[Change] = []
        best_reached = failure.at
        tried: list[Change] = []
        for change in self._changes(failure, asked, emptied):
            tried.append(change)
            reached = self._reach([change], goal)
            if reached >= goal:
                return [change]
            if self.nr_walked >= WALKED_LINES_MAX:
                return best
            if reached > best_reached:
                best, best_reached = [change], reached
        if failure.kind == "state":
            return best
        near = [change for change in tried if change.touched >= failure.at - PAIR_LINES]
        for first in near[:PAIR_FIRST]:
            for second in near[:PAIR_SECOND]:
                if second is first or second.line == first.line:
                    continue
                reached = self._reach([first, second], goal)
                if reached >= goal:
                    return [first, second]
                if self.nr_walked >= WALKED_LINES_MAX:
                    return best
                if reached > best_reached:
                    best, best_reached = [first, second], reached
        return best

    def _reach(self, changes: list[Change], goal: int) -> int:
        """Return the line that a walk with these changes gets to."""
        self.nr_tried += 1
        choices = self.choices
        for change in changes:
            choices = change.apply(choices)
        touched = min(change.touched for change in changes)
        self._stand_before(touched, forget=False)
        self.walk.choose(choices)
        start = self.walk.state.position
        failure = self.walk.run(goal)
        self.nr_walked += max(self.walk.state.position - start, 1)  # to go back takes its time too
        return goal if failure is None else failure.at

    def _go_back(self, choices: Choices, touched: int) -> None:
        self._stand_before(touched, forget=True)
        self.walk.choose(choices)

    def _stand_before(self, line: int, forget: bool) -> None:
        index = bisect_right(self.moments, line, key=lambda moment: moment.state.position) - 1
        if forget:
            del self.moments[index + 1 :]
        self.walk.restore(self.moments[index])

    # -- candidates --------------------------------------------------------------------------------

    def _changes(
        self, failure: Failure, asked: dict[int, int], emptied: list[int]
    ) -> Iterator[Change]:
        line = failure.line
        if failure.kind == "state":
            yield from self._going_back(failure, asked)
            yield from self._cuts(failure, asked, emptied)
            return
        if self.order.lines[line].event.kind in ("alloc", "alloc_fail"):
            if line in self.choices.early:
                yield self._put_back(line)
            yield from self._before_burst(line)
            yield from self._before_others(line)
        yield from self._later_lines(failure)
        yield from self._going_back(failure, asked)
        if failure.kind == "chunk":
            yield from self._cuts(failure, asked, emptied)

    def _put_back(self, line: int) -> Change:
        before = self.choices.early[line]
        return Change(
            "put back", line, before, line - before, lambda choices: choices.without_early(line)
        )

    def _early(self, kind: str, line: int, before: int) -> Change:
        touched = min(before, self.choices.early.get(line, before))
        return Change(
            kind, line, touched, line - before, lambda choices: choices.with_early(line, before)
        )

    def _before_burst(self, line: int) -> Iterator[Change]:
        start = self.order.lines[line].burst_start
        if start >= 0 and self.choices.early.get(line) != start:
            yield self._early("before burst", line, start)

    def _before_others(self, line: int) -> Iterator[Change]:
        """Earlier by 1, 2, 3 … lines: past other CPUs, never past its own task or into a burst."""
        lines = self.order.lines
        own = lines[line]
        for before in range(line - 1, max(line - 1 - HOP_LINES_MAX, -1), -1):
            passed = lines[before]
            same_task = passed.cpu == own.cpu and not passed.in_irq
            if same_task or (passed.event.pid == own.event.pid and not passed.in_irq):
                return
            if self.order.gap(before, line) > HOP_NS:
                return
            splits_burst = (
                passed.cpu == own.cpu
                and before > 0
                and lines[before - 1].in_irq
                and lines[before - 1].cpu == own.cpu
            )
            if not splits_burst and before != own.burst_start:
                yield self._early("before other CPU", line, before)

    def _later_lines(self, failure: Failure) -> Iterator[Change]:
        """An allocation printed after the failure by another CPU was decided before it."""
        lines = self.order.lines
        at = failure.at
        end = min(at + 1 + LATER_LINES_MAX, len(lines))
        for later in range(at + 1, end):
            if self.order.gap(at, later) > HOP_NS:
                return
            line = lines[later]
            if line.event.kind == "alloc" and line.cpu != lines[at].cpu:
                yield self._early("later line", later, at)

    def _going_back(self, failure: Failure, asked: dict[int, int]) -> Iterator[Change]:
        """Choice points before the failure, nearest first."""
        nr_points = 0
        for position in range(failure.at, -1, -1):
            changes = list(self._choices_at(position, failure, asked))
            yield from changes
            nr_points += bool(changes)
            if nr_points >= CHOICE_POINTS_MAX:
                return

    def _choices_at(
        self, position: int, failure: Failure, asked: dict[int, int]
    ) -> Iterator[Change]:
        if position in asked:
            yield from self._work_moments(position, asked[position], failure.at)
        line = self.order.lines[position]
        if line.event.kind != "alloc" or position == failure.line:
            return
        if position in self.choices.early:
            yield self._put_back(position)
            return
        yield from self._before_burst(position)
        if position and self.order.timed:
            other = self.order.lines[position - 1]
            if other.cpu != line.cpu and self.order.gap(position - 1, position) < NEAR_NS:
                yield from islice(self._before_others(position), 1)

    def _work_moments(self, asking: int, moment: int, limit: int) -> Iterator[Change]:
        """The next gaps of the CPU that asked, its longest ones, and no gap at all."""
        lines = self.order.lines
        positions = self.order.of_cpu[lines[asking].cpu]
        ends: list[int] = []
        index = bisect_right(positions, moment)
        while index < len(positions) and positions[index] <= limit:
            ends.append(lines[positions[index]].run_end)
            index = bisect_left(positions, ends[-1]) + 1
        longest = sorted(ends[LATER_GAPS:], key=lambda end: -lines[end].gap_ns)[:LONGEST_GAPS]
        for at in (*ends[:LATER_GAPS], *longest, asking):
            if at != moment:
                yield self._work_change("work moved", asking, WorkMoment(at), at - moment)

    def _work_change(self, kind: str, asking: int, moment: WorkMoment, distance: int) -> Change:
        touched = min(asking, self.choices.early.get(asking, asking))
        return Change(
            kind, asking, touched, distance, lambda choices: choices.with_work(asking, moment)
        )

    def _cuts(
        self, failure: Failure, asked: dict[int, int], emptied: list[int]
    ) -> Iterator[Change]:
        """A run of the work that frees came into: begins in its gap, ends at the failure or later."""
        recent = [position for position in reversed(asked) if position <= failure.at]
        for asking in recent[:CUT_REQUESTS_MAX]:
            moment = asked[asking]
            resumes = [failure.at, *(at for at in reversed(emptied) if at > moment)][:4]
            for nr_stretches in range(1, CUT_STRETCHES_MAX + 1):
                for resume_at in resumes:
                    cut = WorkMoment(moment, nr_stretches, resume_at)
                    yield self._work_change("work cut", asking, cut, resume_at - moment)

    # -- words -------------------------------------------------------------------------------------

    def _tell(self, change: Change, failure: Failure) -> Inferred:
        event = self.order.lines[change.line].event
        at_line = self.order.lines[failure.at].event.line_no
        text = {
            "put back": "decided at its own line after all",
            "before burst": f"decided before the {change.distance} interrupt lines ahead of it",
            "before other CPU": f"decided {change.distance} lines earlier than printed",
            "later line": f"decided {change.distance} lines earlier than printed",
            "work moved": f"the work asked for here ran {change.distance:+d} lines from its gap",
            "work cut": f"the work asked for here was interrupted for {change.distance} lines",
        }[change.kind]
        reason = f"else line {at_line} expected {failure.expected}, got {failure.got}"
        return Inferred(event.line_no, change.kind, change.distance, f"{text}; {reason}")

    def _around(self, failure: Failure) -> str:
        """Return the state around the failure: the chunk that the log names, its hints and neighbours."""
        return self.walk.describe_around(failure)
