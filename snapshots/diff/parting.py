"""Where two runs part: the first step at which their states differ, and the inputs and events that do.

    one     ──●────────●───┬── input 7: pcpu_alloc 64 …        step 40: the same
    other   ──●────────●───┴── input 7: pcpu_alloc 64 atomic   step 41: parted

A machine is a function of its config and its inputs. So two runs of one config that begin alike are the
same up to the first input that differs, and only from there on are states compared, step by step, digest by
digest. Runs of different machines are compared from their first common step.

Two branches share one machine, so each is read for a stretch of steps before the other one is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from kernel_sim.events import EventAt
from kernel_sim.inputs import Input
from kernel_sim.machine_state import dump_parts
from snapshots.diff.area_names import AreaNames
from snapshots.diff.rows import DiffRow, DiffSide
from snapshots.diff.state_delta import delta_of
from snapshots.diff.state_diff import diff_slices, in_order
from snapshots.state_codec import PartHashes, digest_of
from snapshots.timeline import Timeline

COMPARED_A_SLICE = 2048  # inputs or events
STRETCH_STEPS_MAX = 256
STEPS_A_SLICE = 16  # a digest costs a dump of what changed
SEEK_SLICE_STEPS = 500


class InputApart(NamedTuple):
    """The first input that differs; None where a run has no such input. number: that of the first run."""

    number: int
    one: Input | None
    other: Input | None


class EventApart(NamedTuple):
    """The first event that differs; None where a run has no such event. number: that of the first run."""

    number: int
    one: EventAt | None
    other: EventAt | None


class Parting(NamedTuple):
    """Where two runs part.

    step: the first at which the states differ or only one run is left. same_step: the last at which they
    are the same, None if they never are. ended: 'one' or 'other' if that run ends before step, else ''.
    rows: the structural diff at step; empty if one run has ended.
    """

    step: int
    same_step: int | None
    ended: str
    input: InputApart | None
    event: EventApart | None
    rows: tuple[DiffRow, ...]


def parting(one: Timeline, other: Timeline) -> Parting | None:
    """Return where two runs part, None if they are the same to their ends. Moves both machines.

    Raises ConfigError or RecordingError if a run cannot be gone through.
    """
    search = PartingSearch(one, other)
    for _ in search.slices():
        pass
    return search.found


@dataclass(slots=True)
class PartingSearch:
    """The search in slices: found holds what came of it once slices() has ended."""

    one: Timeline
    other: Timeline
    found: Parting | None = None
    input: InputApart | None = None
    event: EventApart | None = None
    same_until: int = -1  # the runs are known to be the same up to here
    _hashes: tuple[PartHashes, PartHashes] = field(
        default_factory=lambda: (PartHashes(), PartHashes())
    )

    def slices(self) -> Iterator[int]:
        """Search; yields the step or number that was come to, so that a screen lives meanwhile."""
        yield from self.compare_inputs()
        start = max(self.one.first_step, self.other.first_step, self.same_until)
        last = min(self.one.end_step, self.other.end_step)
        step = yield from self._first_difference(start, last)
        ended = ""
        if step is None:
            if self.one.end_step == self.other.end_step:
                return
            step, ended = last + 1, "one" if self.one.end_step == last else "other"
        same_step = step - 1 if step > start else None
        yield from self._compare_events(start if same_step is None else same_step)
        rows: list[DiffRow] = []
        if not ended:
            since = start if same_step is None else same_step
            yield from self._read_rows(step, since, rows)
        self.found = Parting(step, same_step, ended, self.input, self.event, in_order(rows))

    # -- inputs and events -------------------------------------------------------------------------

    def compare_inputs(self) -> Iterator[int]:
        """Find the first input that differs, and up to where that means that the runs are the same."""
        one, other = self.one, self.other
        start = max(one.first_step, other.first_step)  # of a trimmed run it is later
        before = one.inputs_before(start), other.inputs_before(start)
        behind = before[1] - before[0]
        number = self._first_unshared_input() + before[0]
        while number < max(one.nr_inputs, other.nr_inputs - behind):
            if number % COMPARED_A_SLICE == 0:
                yield number
            mine = one.input_at(number) if number < one.nr_inputs else None
            yours = other.input_at(number + behind) if number + behind < other.nr_inputs else None
            if mine is None or yours is None or mine[:4] != yours[:4]:
                self.input = InputApart(number, mine, yours)
                break
            number += 1
        if begin_alike(one, other):
            steps = [given.step for given in (self.input or ())[1:] if given is not None]
            self.same_until = min((*steps, one.end_step, other.end_step))

    def _first_unshared_input(self) -> int:
        """Return the number of the first input that is not in a segment which two branches share."""
        number = 0
        for head, same in zip(self.one.heads[:-1], self.other.heads[:-1], strict=False):
            if head is not same:
                break
            number = head.first_input + head.nr_inputs
        return number

    def _compare_events(self, since: int) -> Iterator[int]:
        """Find the first event that differs, after a step up to which the runs are the same."""
        one, other = self.one, self.other
        is_known = self.same_until >= since
        number = one.events_before(since) if is_known else 0
        behind = 0
        if one.first_step != other.first_step:
            start = max(one.first_step, other.first_step)
            number = one.events_before(start)
            behind = other.events_before(start) - number
        while number < max(one.nr_events, other.nr_events - behind):
            if number % COMPARED_A_SLICE == 0:
                yield number
            mine = one.event_at(number) if number < one.nr_events else None
            yours = other.event_at(number + behind) if number + behind < other.nr_events else None
            if mine != yours:
                self.event = EventApart(number, mine, yours)
                return
            number += 1

    # -- states ------------------------------------------------------------------------------------

    def _first_difference(self, start: int, last: int) -> Generator[int, None, int | None]:
        """Yield as slices() does; returns the first step from start to last with different digests."""
        step, length = start, 1
        while step <= last:
            until = min(step + length - 1, last)
            mine: list[str] = []
            yours: list[str] = []
            yield from self._read_digests(0, step, until, mine)
            yield from self._read_digests(1, step, until, yours)
            for offset, (digest, same) in enumerate(zip(mine, yours, strict=True)):
                if digest != same:
                    return step + offset
            step, length = until + 1, min(length * 2, STRETCH_STEPS_MAX)
        return None

    def _read_digests(self, side: int, first: int, last: int, found: list[str]) -> Iterator[int]:
        timeline = (self.one, self.other)[side]
        yield from timeline.moves(first, SEEK_SLICE_STEPS)
        for step in range(first, last + 1):
            if step > first and not timeline.advance(step):
                timeline.seek(step)  # says why a recording cannot get there
            found.append(digest_of(self._hashes[side].of(dump_parts(timeline.machine))))
            if step % STEPS_A_SLICE == 0:
                yield step

    def _read_rows(self, step: int, since: int, rows: list[DiffRow]) -> Iterator[int]:
        yield from read_rows((self.one, step), (self.other, step), since, rows)


def begin_alike(one: Timeline, other: Timeline) -> bool:
    """Say whether two runs are of one config, whatever its name, and have the same first state."""
    config, same = one.machine.config, other.machine.config
    if config is not same and replace(config, name="") != replace(same, name=""):
        return False
    return one.first_step == other.first_step and not delta_of(
        one.keyframe_parts(0), other.keyframe_parts(0)
    )


def read_rows(
    one: tuple[Timeline, int], other: tuple[Timeline, int], since: int | None, rows: list[DiffRow]
) -> Iterator[int]:
    """Append the structural diff of two moments to rows, unsorted; yields now and then.

    since: the last step that two runs share; their areas of later birth are told apart by name. None for
    two moments of one run. Moves the machines.
    """
    sides: list[DiffSide] = []
    for timeline, step in (one, other):
        yield from timeline.moves(step, SEEK_SLICE_STEPS)
        names = AreaNames()
        if since is not None:
            yield from names.read(timeline, since, step)
        sides.append(DiffSide.of(timeline.machine, dump_parts(timeline.machine), names.by_addr))
    for row in diff_slices(*sides):
        if row is not None:
            rows.append(row)
        yield since or 0
