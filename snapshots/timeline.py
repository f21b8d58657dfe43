"""A run that can be gone through in both directions.

    step    0 ────────────■─────────────────■──────────────────■─────────► end
            keyframes     │ inputs, events  │                  │
                          └──► re-execution ──► any step between

A position is a number of steps taken. To stand at one, the nearest kept moment before it is loaded (only
the parts that differ) and the inputs from there on are given again; what is looked at is the live machine.
An input of step k is handed over when the machine moves on from k: a position shows one state, always.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter

from kernel_sim.call import Call
from kernel_sim.errors import ConfigError, KernelBug
from kernel_sim.events import EventAt
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts, dump_parts, load_parts
from snapshots.blame import blamed_on_file
from snapshots.errors import InputRefused, RecordingError
from snapshots.handed_over import HandedOver
from snapshots.input_size import bytes_of
from snapshots.loaded_machine import check_loaded
from snapshots.moments import Moment, Moments
from snapshots.segment import Mark, SegmentBody, SegmentHead, marks_of, pack_segment
from snapshots.segment_stores import InMemory, KeyframeSource, SegmentSink, Shared

KEYFRAME_EVERY_INPUTS = 768
KEYFRAME_EVERY_EVENTS = 1 << 16  # a call may tell of every page it takes
KEYFRAME_EVERY_BYTES = 20 << 20  # of inputs: modules come as whole files
OPEN_BYTES_MAX = 60 << 20  # what waits for a keyframe must still fit into one segment
MOMENT_EVERY_INPUTS = 128
BODIES_MAX = 24
BODY_ROWS_MAX = 1 << 18  # inputs and events of all bodies that are kept; a stranger's may be long
NO_LIMIT = 1 << 62
SLICE_S = 0.012
STEPS_BETWEEN_LOOKS = 64  # at the clock
HALF_DONE = "adopt_"  # these may have done something before they find that they cannot go on


class Timeline:
    """One branch of a run: its inputs, its events, and the machine that stands somewhere on it."""

    def __init__(
        self, machine: Machine, sink: SegmentSink | None = None, *, begin: bool = True
    ) -> None:
        """Begin at a machine's present moment, which must be one with no call under way."""
        self.machine = machine
        self.sink = sink
        self.heads = [SegmentHead(machine.step, 0, 0, last_step=machine.step)]
        self.open_body = SegmentBody([], [])
        self.store = InMemory()
        self.source: KeyframeSource | None = None  # closed segments that came from a file
        self.nr_from_source = 0
        self.nr_shared = 0  # segments that another branch keeps
        self.next_input = 0
        self.end_step = machine.step
        self.nr_inputs = 0
        self.nr_events = 0
        self.moments = Moments()
        self.bodies: dict[int, SegmentBody] = {}
        self.calls: dict[int, Call] = {}  # calls under way, by input number
        self.watch: Callable[[list[EventAt]], None] | None = None  # sees all events, known ones too
        self.holder = [self]  # who moved the machine last, shared by all branches
        self.must_reload = False  # somebody else has used the machine
        self.is_foreign = False  # it came from a file, which may say anything
        self.sound_steps: dict[int, None] = {}  # keyframes of a file that agree in themselves
        self.nr_inputs_of_file = 0
        self.open_bytes = 0  # of long arguments in the open segment
        if begin:
            self._begin_segment(dump_parts(machine))

    @classmethod
    def reading(
        cls, machine: Machine, source: KeyframeSource, heads: list[SegmentHead], nr_shared: int = 0
    ) -> Timeline:
        """Return a run that is in a file, its last head the open segment; it stands nowhere until it seeks.

        Raises RecordingError if that segment cannot be read.
        """
        timeline = cls(machine, begin=False)
        timeline.is_foreign = timeline.must_reload = True
        timeline.heads, timeline.source = heads, source
        last = len(heads) - 1
        timeline.nr_from_source, timeline.nr_shared = last, nr_shared
        timeline.open_body = source.body(last)
        timeline.nr_inputs = heads[-1].first_input + len(timeline.open_body.inputs)
        timeline.nr_inputs_of_file = timeline.nr_inputs
        timeline.open_bytes = sum(bytes_of(given.args) for given in timeline.open_body.inputs)
        timeline.nr_events = heads[-1].first_event + timeline.open_body.nr_events
        timeline.end_step = heads[-1].last_step
        timeline._begin_segment(source.parts(last))
        return timeline

    # -- what is there -----------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The present position."""
        return self.machine.step

    @property
    def first_step(self) -> int:
        """The first position there is."""
        return self.heads[0].first_step

    def body(self, number: int) -> SegmentBody:
        """Return a segment's inputs and events, unpacking them if need be."""
        if number == len(self.heads) - 1:
            return self.open_body
        body = self.bodies.pop(number, None)
        if body is None:
            if number < self.nr_from_source and self.source is not None:
                body = self.source.body(number)
            else:
                body = self.store.body(number - self.nr_from_source)
            self._make_room_for(body)
        self.bodies[number] = body
        return body

    def _make_room_for(self, body: SegmentBody) -> None:
        nr_rows = body.nr_rows + sum(kept.nr_rows for kept in self.bodies.values())
        while self.bodies and (len(self.bodies) >= BODIES_MAX or nr_rows > BODY_ROWS_MAX):
            nr_rows -= self.bodies.pop(next(iter(self.bodies))).nr_rows

    def packed(self, number: int) -> bytes:
        """Return a closed segment as it is packed."""
        if number < self.nr_from_source and self.source is not None:
            return self.source.packed(number)
        return self.store.packed[number - self.nr_from_source]

    def keyframe_parts(self, number: int) -> Parts:
        """Return the machine's parts at the beginning of a segment."""
        if number < self.nr_from_source and self.source is not None:
            return self.source.parts(number)
        return self.store.parts(number - self.nr_from_source)

    def input_at(self, index: int) -> Input:
        """Return an input by its number."""
        offset = index - self.heads[-1].first_input
        if offset >= 0:
            return self.open_body.inputs[offset]
        number = bisect_right(self.heads, index, key=lambda head: head.first_input) - 1
        return self.body(number).inputs[index - self.heads[number].first_input]

    def event_at(self, index: int) -> EventAt:
        """Return an event by its number."""
        number = bisect_right(self.heads, index, key=lambda head: head.first_event) - 1
        return self.body(number).events[index - self.heads[number].first_event]

    def events_before(self, step: int) -> int:
        """Return how many events happened up to and including a step."""
        number = self._segment_of(step)
        events = self.body(number).events
        inside = bisect_right(events, step, key=lambda at: at.step)
        return self.heads[number].first_event + inside

    def inputs_before(self, step: int) -> int:
        """Return how many inputs were given before a step."""
        number = self._segment_of(step)
        inputs = self.body(number).inputs
        inside = bisect_right(inputs, step - 1, key=lambda given: given.step)
        return self.heads[number].first_input + inside

    def marks(self, first_segment: int = 0) -> Iterator[Mark]:
        """Yield every mark of the segments from that one on, first to last."""
        for head in self.heads[first_segment:-1]:
            yield from head.marks
        yield from marks_of(self.open_body.events)

    def _segment_of(self, step: int) -> int:
        return max(bisect_right(self.heads, step, key=lambda head: head.first_step) - 1, 0)

    @property
    def is_at_end(self) -> bool:
        """Whether the present is the newest moment, so that an input can be added."""
        return self.machine.step >= self.end_step and self.next_input >= self.nr_inputs

    def give(
        self, do: str, cpu: int, args: tuple[int | str | bool | bytes, ...] = (),
        line: int = 0, by: str = "",
    ) -> int:  # fmt: skip
        """Add an input at the present moment, the newest of this branch; returns its number."""
        nr_bytes = bytes_of(args)
        if self.is_segment_full(nr_bytes):
            self._close_segment()
            if self.open_bytes + nr_bytes > OPEN_BYTES_MAX:
                raise ConfigError(
                    f"{do}: {self.open_bytes + nr_bytes} bytes given since the last keyframe; expected at"
                    f" most {OPEN_BYTES_MAX} before the calls under way end"
                )
        self.open_bytes += nr_bytes
        body = self.open_body
        body.inputs.append(Input(self.machine.step, do, cpu, args, line, by))
        self.heads[-1].nr_inputs += 1
        self.nr_inputs += 1
        return self.nr_inputs - 1

    def take(
        self, do: str, cpu: int, args: tuple[int | str | bool | bytes, ...] = (),
        line: int = 0, by: str = "",
    ) -> Call | None:  # fmt: skip
        """Do what give() and advance() do, at once; returns the call that began, None for a knob."""
        machine, nr_bytes = self.machine, bytes_of(args)
        if machine.active or not self._is_plain(nr_bytes):
            number = self.give(do, cpu, args, line, by)
            self.advance(NO_LIMIT)
            return self.calls.pop(number, None)
        given = Input(machine.step, do, cpu, args, line, by)
        try:
            call = apply_input(machine, given)
        except ConfigError as problem:
            raise InputRefused(str(problem)) from problem
        self.open_bytes += nr_bytes
        body, head = self.open_body, self.heads[-1]
        body.inputs.append(given)
        head.nr_inputs += 1
        self.nr_inputs = self.next_input = self.nr_inputs + 1
        machine.run(NO_LIMIT)
        self.end_step = machine.step
        events = machine.events
        if events:
            machine.events = []
            body.events += events
            head.nr_events += len(events)
            self.nr_events += len(events)
        return call

    def _is_plain(self, nr_bytes: int) -> bool:
        """Say whether an input of so many bytes can be given here and now with nothing else to look to."""
        return (
            self.machine.step >= self.end_step
            and self.next_input >= self.nr_inputs
            and self.holder[0] is self
            and self.watch is None
            and not self.is_foreign
            and not self.is_segment_full(nr_bytes)
        )

    def is_segment_full(self, nr_bytes: int = 0) -> bool:
        """Say whether a keyframe is due before an input of so many bytes is given."""
        body = self.open_body
        return (
            len(body.inputs) >= KEYFRAME_EVERY_INPUTS
            or len(body.events) >= KEYFRAME_EVERY_EVENTS
            or self.open_bytes + nr_bytes > KEYFRAME_EVERY_BYTES
        )

    def _close_segment(self) -> None:
        """Take a keyframe here if no call is under way; else let those that run end first."""
        if not self.machine.is_idle:
            if any(call.parked for cpu in self.machine.cpus.values() for call in cpu.stack):
                return
            self.advance(NO_LIMIT)
            if not self.machine.is_idle:
                return
        head = self.heads[-1]
        nr_given = self.next_input - head.first_input
        if not nr_given:
            return  # all its inputs wait for this very step: a segment of no length is none
        step = self.machine.step  # those that still wait are handed over behind the keyframe
        waiting = [given._replace(step=step) for given in self.open_body.inputs[nr_given:]]
        del self.open_body.inputs[nr_given:]
        head.nr_inputs = nr_given
        head.last_step = self.machine.step
        head.marks = marks_of(self.open_body.events)
        packed = pack_segment(self.open_body)
        if self.sink is not None:
            self.sink.segment(len(self.heads) - 1, head, packed)
        self.store.packed.append(packed)
        self.open_body = SegmentBody(waiting, [])
        self.open_bytes = sum(bytes_of(given.args) for given in waiting)
        self.heads.append(
            SegmentHead(self.machine.step, self.next_input, self.nr_events, len(waiting))
        )
        self._begin_segment(dump_parts(self.machine))

    def _begin_segment(self, parts: Parts) -> None:
        """Keep the keyframe at the beginning of the newest segment."""
        encoded = self.store.keyframes.add(parts)
        if self.sink is not None:
            self.sink.keyframe(len(self.heads) - 1, self.heads[-1].first_step, encoded)

    def advance(self, until: int) -> bool:
        """Take steps up to a position, as far as the inputs lead; False if it was not reached.

        Raises ConfigError or, for a run from a file, RecordingError if an input cannot be taken.
        """
        if self.holder[0] is not self:
            raise KernelBug("another branch has moved the machine; seek a step of this one first")
        try:
            return self._advance(until)
        except InputRefused:
            raise
        except Exception as problem:
            if self.is_foreign:
                self._go_back()
            raise self.blamed(problem) from problem

    def _go_back(self) -> None:
        """Stand at the first step again: the machine was left in the middle of a step, or half loaded.

        Its first keyframe is the one that was there when the file was opened. What the machine still
        believes to hold of parts is not to be relied on.
        """
        self.must_reload = True
        self.machine.part_cache.clear()
        first = self.heads[0]
        load_parts(self.machine, self.keyframe_parts(0))
        self.next_input = first.first_input
        self.must_reload = False
        self.holder[0] = self

    def blamed(self, problem: Exception) -> Exception:
        """Return what to raise: what no machine of ours would do is the fault of the file it came from."""
        return blamed_on_file(problem, self.machine.step) if self.is_foreign else problem

    def _advance(self, until: int) -> bool:
        machine, handed = self.machine, HandedOver()
        while machine.step < until:
            limit = until
            if self.next_input < self.nr_inputs:
                given = self.input_at(self.next_input)
                if given.step <= machine.step:
                    work = machine.work if given.do != "kworker" else replace(machine.work)
                    handed.note(self._hand_over(given, handed), work)
                    continue
                if given.step < limit:
                    limit = given.step
            before = machine.step
            busy = machine.run(limit)
            if machine.step == before:
                self.next_input -= handed.take_back(machine)
                break
            handed.clear()
            if not busy and self.next_input >= self.nr_inputs:
                break
        self._keep_events()
        return machine.step >= until

    def _hand_over(self, given: Input, handed: HandedOver) -> Call | None:
        index = self.next_input
        again = self.machine.step < self.end_step
        if again and index % MOMENT_EVERY_INPUTS == 0 and self.machine.is_idle:
            self.moments.keep(Moment(self.machine.step, index, dump_parts(self.machine)))
        try:
            call = apply_input(self.machine, given)
        except ConfigError as problem:
            self.next_input -= handed.take_back(self.machine)
            self._forget_input(index)
            if self.is_foreign and given.do.startswith(HALF_DONE):
                self._go_back()
            raise InputRefused(str(problem)) from problem
        self.next_input = index + 1
        if call is not None and (not again or index in self.calls):
            self.calls[index] = call
        return call

    def _forget_input(self, index: int) -> None:
        """Take out an input that the machine refused, unless it is a file's: it would be refused again."""
        if index >= self.nr_inputs_of_file:
            del self.open_body.inputs[index - self.heads[-1].first_input]
            self.heads[-1].nr_inputs -= 1
            self.nr_inputs -= 1

    def _keep_events(self) -> None:
        """Add the events of new steps; those of steps that were taken before are known."""
        machine = self.machine
        events = machine.take_events()
        if self.watch is not None:
            self.watch(events)
        known = self.end_step
        if machine.step <= known:
            return
        self.end_step = machine.step
        if not events:
            return
        fresh = events if events[0].step > known else [at for at in events if at.step > known]
        self.open_body.events += fresh
        self.heads[-1].nr_events += len(fresh)
        self.nr_events += len(fresh)

    def pin(self) -> None:
        """Keep this very moment, if nothing runs, and never drop the one from which one gets here."""
        if self.machine.is_idle and self.machine.fault is None and not self.is_stale:
            self.moments.keep(Moment(self.step, self.next_input, dump_parts(self.machine)))
        self.moments.pin(self.step)

    def advance_a_while(self, until: int) -> bool:
        """Do as advance(), by the same places, for SLICE_S at most; False if nothing leads further."""
        machine, deadline = self.machine, perf_counter() + SLICE_S
        while self.advance(min(machine.step + STEPS_BETWEEN_LOOKS, until)):
            if machine.step >= until or perf_counter() > deadline:
                return True
        return False

    def seek(self, step: int) -> None:
        """Stand at a position; one beyond either end means that end."""
        for _ in self.moves(step):
            pass

    def moves(self, step: int, slice_steps: int = 2000) -> Iterator[int]:
        """Go to a position in slices, yielding where the machine stands after each.

        Whoever stops asking stands at a sound position between.
        """
        target = min(max(step, self.first_step), self.end_step)
        machine = self.machine
        start = self._nearest(target)
        if machine.step > target or start.step > machine.step or self.is_stale:
            self._load(start)
        while machine.step < target:
            yield machine.step
            if not self.advance_a_while(min(machine.step + slice_steps, target)):
                break
        if self.is_foreign and machine.step < target:
            raise RecordingError(
                f"the recording promises steps up to {self.end_step}, but what it gives the machine ends "
                f"at step {machine.step}"
            )

    def _load(self, start: Moment) -> None:
        self.must_reload = True  # should it end half way
        try:
            load_parts(self.machine, start.parts)
            if self.machine.step != start.step:
                raise RecordingError(
                    f"the keyframe at step {start.step} holds the state of step {self.machine.step}"
                )
            if self.is_foreign and start.step not in self.sound_steps:
                check_loaded(self.machine)
                self.sound_steps[start.step] = None
        except Exception as problem:
            if self.is_foreign and start.step > self.first_step:
                self._go_back()
            raise self.blamed(problem) from problem
        self.next_input = start.input_index
        self.must_reload = False
        self.holder[0] = self

    @property
    def is_stale(self) -> bool:
        """Whether the machine does not stand on this branch: another one has moved it."""
        return self.must_reload or self.holder[0] is not self

    def _nearest(self, step: int) -> Moment:
        number = self._segment_of(step)
        head = self.heads[number]
        kept = self.moments.before(step)
        if kept is not None and kept.step >= head.first_step:
            return kept
        here = self.machine.step
        if head.first_step <= here <= step and not self.is_stale:
            return Moment(head.first_step, head.first_input, {})  # the machine is nearer already
        return Moment(head.first_step, head.first_input, self.keyframe_parts(number))

    def fork(self) -> Timeline:
        """Return a branch that ends at the present moment and has the machine; this one keeps its all.

        The branch shares what lies before with this one.
        """
        step = self.machine.step
        number = self._segment_of(step)
        branch = Timeline.__new__(Timeline)
        branch.__dict__.update(self.__dict__)
        head = self.heads[number]
        body = self.body(number)
        nr_inputs = self.next_input - head.first_input
        events = [at for at in body.events if at.step <= step]
        nr_rows = (nr_inputs, len(events))
        own = SegmentHead(head.first_step, head.first_input, head.first_event, *nr_rows)
        branch.heads = [*self.heads[:number], own]
        branch.open_body = SegmentBody(body.inputs[:nr_inputs], events)
        branch.nr_inputs = self.next_input
        branch.nr_inputs_of_file = min(self.nr_inputs_of_file, branch.nr_inputs)
        branch.open_bytes = sum(bytes_of(given.args) for given in branch.open_body.inputs)
        branch.nr_events = head.first_event + len(events)
        branch.end_step = step
        branch.moments = self.moments.up_to(step)
        branch.bodies = {}
        branch.calls = {}
        branch.sound_steps = dict(self.sound_steps)  # its own keyframes are none of the file's
        branch.store = InMemory()
        branch.source = Shared(self)
        branch.holder[0] = branch
        branch.nr_from_source = branch.nr_shared = number
        branch.sink = None
        branch._begin_segment(self.keyframe_parts(number))
        self.must_reload = True
        return branch
