"""Walk a log's lines in one order, with the real allocator deciding, and see where it first disagrees.

The order is the log's own but for a few *choices*: an allocation decided before an earlier line, a run of
the background work at another moment, a placement taken over from the log because nothing explains it. A
walk with given choices always does the same; the search (ordering.py) only changes choices and walks again.

The background work leaves no line of its own. Once asked for it runs in the next gap of its CPU: behind the
uninterrupted run of lines that the asking line belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from kernel_sim.percpu.chunk import RESERVED, Chunk
from snapshots.logs.line_order import LineOrder
from snapshots.logs.plan_engine import PlanEngine, Saved
from snapshots.logs.state_compare import compare_allocator
from snapshots.logs.state_moments import MARKER_LAG_LINES, StateMoment

SAVE_EVERY = 64
NEVER = 1 << 60
UNKNOWN = -2  # chunk number of a base address that names no chunk


class WorkMoment(NamedTuple):
    """When a run of the work asked for at a line begins, and where it is cut and goes on."""

    at: int
    nr_stretches: int = 0  # 0: runs to its end at once
    resume_at: int = -1


@dataclass(frozen=True, slots=True)
class Choices:
    """All that differs from the log's own order, by line position."""

    early: dict[int, int] = field(
        default_factory=dict
    )  # allocation -> line before which it is decided
    work: dict[int, WorkMoment] = field(default_factory=dict)  # asking line -> moment
    forced: dict[int, str] = field(default_factory=dict)  # line that is taken over -> why
    given_up: frozenset[int] = frozenset()  # recorded states that nothing makes equal

    def with_early(self, line: int, before: int) -> Choices:
        """Return the choices with one more allocation decided earlier, or elsewhere."""
        return replace(self, early={**self.early, line: before})

    def without_early(self, line: int) -> Choices:
        """Return the choices with an allocation back in its place."""
        return replace(self, early={k: v for k, v in self.early.items() if k != line})

    def with_work(self, line: int, moment: WorkMoment) -> Choices:
        """Return the choices with one run of the work at a moment of its own."""
        return replace(self, work={**self.work, line: moment})

    def without_work(self, line: int) -> Choices:
        """Return the choices with one run of the work left out, unless a chunk line asks for it."""
        return self.with_work(line, WorkMoment(NEVER))

    def without_state(self, index: int) -> Choices:
        """Return the choices with one recorded state no longer asked for."""
        return replace(self, given_up=self.given_up | {index})

    def with_forced(self, line: int, why: str) -> Choices:
        """Return the choices with one more line taken over from the log."""
        return replace(self, forced={**self.forced, line: why})


class Failure(NamedTuple):
    """The first disagreement: at which line, whose decision, of what kind, and in words."""

    at: int
    line: int
    kind: str  # 'place' | 'free' | 'chunk' | 'state'
    expected: str
    got: str
    asking: int = -1  # line that asked for the run of the work that did it, -1: no work did


class Action(NamedTuple):
    """One thing the machine is to do; line is a position, -1 for none."""

    do: str  # alloc, free, work, work_cut, work_resume, async_on, force_alloc, skip_free, …
    line: int
    cpu: int
    number: int  # chunk that the log names; stretches of a cut
    at: int  # the line at which the walk stood
    creates: tuple[int, ...]  # logged base addresses of the chunks that come into being here


Position: TypeAlias = int


@dataclass(slots=True)
class WalkState:
    """Where a walk stands, apart from the allocator; plain values, copied by replace()."""

    position: int = 0
    asked_at: int = -1  # line at which the work was asked for, -1: it is not, or is being run
    moment: int = NEVER
    cut_asked_at: int = -1  # line at which the run of the work that was cut last was asked for
    resume_at: int = NEVER
    next_event: int = 0  # of the log's chunk events
    next_moment: int = 0  # of the recorded states
    guard_until: int = -1  # no sleeping allocation before this line: the work holds the mutex
    names: tuple[tuple[int, int], ...] = ()  # logged base -> chunk number, live chunks
    owed: tuple[tuple[int, int], ...] = ()  # pid -> chunk event its next allocation must produce


class ChunkEvent(NamedTuple):
    """A create or destroy line of the log."""

    line: int
    kind: str
    base: int


class Walk:
    """One walk over the lines; run() goes on until a line or the first failure."""

    def __init__(
        self,
        order: LineOrder,
        engine: PlanEngine,
        first_base: int,
        moments: tuple[StateMoment, ...] = (),
    ) -> None:
        """Stand before the first line; first_base is the logged base of the first chunk or 0."""
        self.moments = moments
        self.order = order
        self.engine = engine
        self.choices = Choices()
        self.state = WalkState()
        self.actions: list[Action] = []
        self.asked: dict[int, int] = {}  # asking line -> moment at which the work ran
        self.created: list[int] = []  # bases of chunks created since the last action
        self.emptied: list[int] = []  # lines of frees that left a chunk wholly free
        self.chunk_events = [
            ChunkEvent(position, line.event.kind, line.event.base_addr)
            for position, line in enumerate(order.lines)
            if line.event.kind in ("create", "destroy")
        ]
        self.names: dict[int, int] = {first_base: 0} if first_base else {}
        self.owed: dict[int, int] = {}
        self.early_at: dict[int, list[int]] = {}
        self.async_on_at = self._first_task_create()
        if self.async_on_at >= 0:
            engine.percpu.async_enabled = False

    def _first_task_create(self) -> int:
        """Return the create line behind which the work is switched on, -1: it is on from the start."""
        for event in self.chunk_events:
            if event.kind == "create":
                return -1 if self.order.lines[event.line].by_kworker else event.line
        return -1

    # -- moments -----------------------------------------------------------------------------------

    def save(self) -> Moment:
        """Keep where the walk stands; only between two lines, with no cut run of the work."""
        state = replace(self.state, names=tuple(self.names.items()), owed=tuple(self.owed.items()))
        return Moment(state, self.engine.save(), len(self.actions), tuple(self.asked.items()))

    def restore(self, moment: Moment) -> None:
        """Go back to a kept moment."""
        self.state = replace(moment.state)
        self.engine.restore(moment.engine)
        del self.actions[moment.nr_actions :]
        self.created = []
        self.names = dict(moment.state.names)
        self.owed = dict(moment.state.owed)
        self.asked = dict(moment.asked)

    def choose(self, choices: Choices) -> None:
        """Walk with these choices from here on."""
        self.choices = choices
        self.early_at = {}
        for line in sorted(choices.early):
            self.early_at.setdefault(choices.early[line], []).append(line)

    # -- walking -----------------------------------------------------------------------------------

    def run(self, until: int) -> Failure | None:
        """Walk up to, not including, line `until`; returns the first failure."""
        state = self.state
        lines = self.order.lines
        early = self.choices.early
        while state.position < until:
            at = state.position
            failure = self._check_moment(at) if state.next_moment < len(self.moments) else None
            if failure is not None:
                return failure
            for line in self.early_at.get(at, ()):
                failure = failure or self._alloc(at, line)
            kind = lines[at].event.kind
            if failure is None:
                if kind == "free":
                    failure = self._free(at)
                elif kind in ("alloc", "alloc_fail"):
                    if at not in early:
                        failure = self._alloc(at, at)
                else:
                    failure = self._chunk_line(at)
            failure = failure or self._work_if_due(at)
            if failure is not None:
                return failure
            state.position = at + 1
        return None

    def _check_moment(self, at: int) -> Failure | None:
        """A recorded state must be met at its marker's line, or a few lines before it."""
        state = self.state
        while state.next_moment < len(self.moments):
            position, expected = self.moments[state.next_moment]
            if at < position - MARKER_LAG_LINES:
                return None
            found = next(compare_allocator(self.engine.percpu, expected, self.names), None)
            if found is not None and at < position:
                return None
            if found is not None and state.next_moment not in self.choices.given_up:
                what = f"{found.chunk} {found.field}".strip()
                text = f"{what} {found.expected} in state {expected.label!r}"
                return Failure(at, at, "state", text, found.got)
            state.next_moment += 1
        return None

    def _alloc(self, at: int, position: int) -> Failure | None:
        line = self.order.lines[position]
        event = line.event
        number = self._number_of(event.base_addr, event.reserved) if event.kind == "alloc" else None
        if position in self.choices.forced:
            return self._force_alloc(position, number)
        if not event.is_atomic and (self.engine.work_path or at < self.state.guard_until):
            return Failure(at, position, "chunk", "the work is over", "it holds pcpu_alloc_mutex")
        got = self.engine.alloc(line.cpu, event.size, event.align, event.reserved, event.is_atomic)
        failure = self._check_produced(at, position, by_work=False)
        if failure:
            return failure
        if event.pid in self.owed:
            owed = self.owed.pop(event.pid)
            if owed >= self.state.next_event:
                return Failure(at, position, "place", "creates a chunk", "found room")
            number = self._number_of(event.base_addr, event.reserved)
        want = None if event.kind == "alloc_fail" else (number, event.off)
        if got != want:
            return Failure(at, position, "place", _place(want), _place(got))
        self._act("alloc", position, line.cpu, UNKNOWN if number is None else number)
        self._note_request(at, position)
        return None

    def _free(self, at: int) -> Failure | None:
        line = self.order.lines[at]
        event = line.event
        if at in self.choices.forced:
            self._act("skip_free", at, line.cpu)
            return None
        number = self._number_of(event.base_addr, False)
        if number is None or not self.engine.free(line.cpu, number, event.off):
            return Failure(
                at, at, "free", "a live area", f"none at {event.base_addr:#x}+{event.off}"
            )
        if self.engine.percpu.chunks[number].free_bytes == self.engine.percpu.unit_size_bytes:
            self.emptied.append(at)
        self._act("free", at, line.cpu, number)
        self._note_request(at, at)
        return None

    def _number_of(self, base: int, reserved: bool) -> int | None:
        """Return the chunk that the log calls by this base; the first unknown one is the first chunk."""
        number = self.names.get(base)
        if number is not None:
            return number
        numbers = self.names.values()
        if reserved and self.engine.percpu.reserved_chunk is not None and RESERVED not in numbers:
            self.names[base] = RESERVED
            return RESERVED
        if 0 not in numbers:
            self.names[base] = 0
            return 0
        return None

    def _chunk_line(self, at: int) -> Failure | None:
        """A create or destroy line: the simulation must have produced it, or do so now."""
        line = self.order.lines[at]
        index = next(i for i, event in enumerate(self.chunk_events) if event.line == at)
        if at == self.async_on_at:
            self.engine.percpu.async_enabled = True
            self._act("async_on", at)
        if index < self.state.next_event:
            return None
        if at in self.choices.forced:
            return self._force_chunk_event(index)
        if line.event.kind == "create" and not line.by_kworker:
            self.owed[line.event.pid] = index
            return None
        if self.state.asked_at >= 0 or self.engine.work_path:
            failure = self._run_work(at)
            if failure is None and index < self.state.next_event:
                return None
            if failure is not None:
                return failure
        return Failure(at, at, "chunk", f"{line.event.kind} {line.event.base_addr:#x}", "nothing")

    def _act(self, do: str, line: int, cpu: int = 0, number: int = 0) -> None:
        created, self.created = tuple(self.created), []
        self.actions.append(Action(do, line, cpu, number, self.state.position, created))

    # -- the work ----------------------------------------------------------------------------------

    def _note_request(self, at: int, position: int) -> None:
        """If this line asked for the work, settle when it runs."""
        state = self.state
        if self.engine.asked_cpu < 0 or state.asked_at >= 0 or self.engine.work_path:
            return
        state.asked_at = position
        chosen = self.choices.work.get(position)
        lines = self.order.lines
        gap = lines[position].run_end
        if chosen is None and gap == len(lines) - 1:
            gap = NEVER  # the log ends before the gap: nothing tells whether the work ran
        state.moment = max(chosen.at if chosen else gap, at)
        self.asked[position] = state.moment

    def _work_if_due(self, at: int) -> Failure | None:
        state = self.state
        if self.engine.work_path is not None:
            if at < state.resume_at:
                return None
            asked_at, failure = state.cut_asked_at, self._resume_work(at)
        elif state.asked_at >= 0 and at >= state.moment:
            asked_at, failure = state.asked_at, self._run_work(at)
        else:
            return None
        return failure._replace(asking=asked_at) if failure is not None else None

    def _run_work(self, at: int) -> Failure | None:
        state = self.state
        if self.engine.work_path is not None:
            return self._resume_work(at)
        chosen = self.choices.work.get(state.asked_at)
        cpu = self.engine.asked_cpu
        asked_at = state.asked_at
        state.asked_at, state.moment = -1, NEVER
        if chosen is not None and chosen.nr_stretches:
            self.engine.run_work(chosen.nr_stretches)
            state.resume_at, state.cut_asked_at = chosen.resume_at, asked_at
            if self.engine.work_path is None:
                state.resume_at = NEVER
        else:
            self.engine.run_work()
        was_cut = self.engine.work_path is not None
        failure = self._check_produced(at, at, by_work=True)
        nr_stretches = chosen.nr_stretches if chosen and was_cut else 0
        self._act("work_cut" if was_cut else "work", asked_at, cpu, nr_stretches)
        if failure is None and self.engine.work_path is None:
            self._note_request(at, at)
        return failure

    def _resume_work(self, at: int) -> Failure | None:
        self.engine.run_work()
        self.state.resume_at = NEVER
        failure = self._check_produced(at, at, by_work=True)
        self._act("work_resume", at)
        if failure is None:
            self._note_request(at, at)
        return failure

    def _check_produced(self, at: int, line: int, by_work: bool) -> Failure | None:
        """Every chunk event of the simulation must be the next one of the log."""
        produced, self.engine.produced = self.engine.produced, []
        state = self.state
        for kind, number in produced:
            if state.next_event >= len(self.chunk_events):
                return Failure(at, line, "chunk", "no more chunk events", f"{kind} chunk {number}")
            expected = self.chunk_events[state.next_event]
            if kind != expected.kind:
                return Failure(at, line, "chunk", expected.kind, f"{kind} chunk {number}")
            if kind == "create":
                self.names[expected.base] = number
                self.created.append(expected.base)
            elif self.names.get(expected.base) != number:
                want = f"destroy chunk {self.names.get(expected.base)}"
                return Failure(at, line, "chunk", want, f"destroy chunk {number}")
            else:
                del self.names[expected.base]
            state.next_event += 1
            if by_work and expected.line > at:
                state.guard_until = max(state.guard_until, expected.line)
        return None

    # -- what nothing explains ---------------------------------------------------------------------

    def _force_alloc(self, position: int, number: int | None) -> Failure | None:
        line = self.order.lines[position]
        if number is None or line.event.kind == "alloc_fail":
            self._act("skip_alloc", position, line.cpu)
            return None
        size = line.event.size + 3 & ~3
        self.engine.percpu.adopt_area(number, line.event.off, size)
        self._act("force_alloc", position, line.cpu, number)
        return None

    def _force_chunk_event(self, index: int) -> Failure | None:
        expected = self.chunk_events[index]
        line = self.order.lines[expected.line]
        if expected.kind == "create":
            number = self.engine.force_create()
            self.names[expected.base] = number
            self.created.append(expected.base)
        else:
            number = self.names.pop(expected.base, 0)
            if number > 0:
                self.engine.force_destroy(number)
        self.state.next_event = index + 1
        self._act(f"force_{expected.kind}", expected.line, line.cpu, number)
        return None

    def describe_around(self, failure: Failure) -> str:
        """Return what the log's chunk looks like around the place in question, one line."""
        event = self.order.lines[failure.line].event
        number = self.names.get(event.base_addr)
        chunk = self.engine.percpu.chunks.get(number) if number is not None else None
        if chunk is None:
            return f"{event.base_addr:#x}: no such chunk here"
        return describe_chunk(chunk, event.off)


class Moment(NamedTuple):
    """A place to which a walk can go back."""

    state: WalkState
    engine: Saved
    nr_actions: int
    asked: tuple[tuple[int, int], ...]


def _place(place: tuple[int | None, int] | None) -> str:
    if place is None:
        return "no room"
    number, off = place
    name = {None: "an unknown chunk", RESERVED: "the reserved chunk", 0: "the first chunk"}
    return f"offset {off} of {name.get(number, f'chunk {number}')}"


def describe_chunk(chunk: Chunk, off: int) -> str:
    """Return what a chunk looks like around an offset, in one line."""
    bit = max(off, 0) >> 2
    near = [area for area in chunk.areas() if abs(area[0] - bit) <= 256]
    areas = " ".join(f"[{start * 4}+{bits * 4}]" for start, bits in near[:8])
    index = min(bit // 1024, chunk.nr_pages - 1)
    return (
        f"chunk {chunk.number}: free {chunk.free_bytes} bytes, slot {chunk.slot}, hints "
        f"{chunk.md.row()}, block {index} {chunk.blocks[index].row()}, areas near: {areas or 'none'}"
    )
