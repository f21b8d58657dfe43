"""A run made again beside the one that is there: on a machine of its own, told step by step.

    Timeline (not moved) ── inputs ──▶ Rerun's own machine ──▶ Beat: step, who began, who ended, events
                     └──── inputs ──▶ Retold: a new time line, every input at the step it had

A time line shows where a run stands; who wants to know what happens between (which call began on which
CPU, which event came first) runs it again here, one step at a time, and may stop asking after any step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kernel_sim.boot import boot
from kernel_sim.call import Call
from kernel_sim.events import EventAt
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts, load_parts
from snapshots.errors import RecordingError
from snapshots.timeline import Timeline


class Beat(NamedTuple):
    """One step: the position after it, inputs handed over before it, and what it did."""

    step: int
    given: list[tuple[int, Input]]  # with the input's number
    began: list[tuple[int, Call]]  # with the step after which the call was on its CPU
    ended: list[Call]
    events: list[EventAt]


class Rerun:
    """The same inputs given to another machine, which starts where the run starts."""

    def __init__(
        self,
        timeline: Timeline,
        *,
        from_boot: bool = False,
        at_segment: int = 0,
        parts: Parts | None = None,
    ) -> None:
        """Boot a machine and load the keyframe of a segment, or the parts given for it.

        from_boot: load nothing, but believe the config. Raises RecordingError if that keyframe is none of
        such a machine.
        """
        self.timeline = timeline
        self.machine: Machine = boot(timeline.machine.config)
        if not from_boot:
            try:
                load_parts(self.machine, parts or timeline.keyframe_parts(at_segment))
            except Exception as problem:
                raise timeline.blamed(problem) from problem
        self.next_input = timeline.heads[at_segment].first_input
        self.inputs_end = timeline.nr_inputs  # those from here on are not looked at
        self.call_inputs: dict[int, int] = {}  # id of a call under way: number of its input
        self._idle_until = 0  # no input is due before this step
        self._on_cpus: dict[int, Call] = {}  # calls on a CPU now, by id

    def hand_over(self) -> list[tuple[int, Input]]:
        """Give the machine every input that is due now; a knob takes its step at once.

        Raises ConfigError for one that it cannot take; the machine then stands where it stood.
        """
        timeline, machine = self.timeline, self.machine
        given: list[tuple[int, Input]] = []
        if machine.step < self._idle_until:
            return given
        while self.next_input < self.inputs_end:
            due = timeline.input_at(self.next_input)
            if due.step > machine.step:
                self._idle_until = due.step
                break
            before = machine.step
            call = apply_input(machine, due)
            if call is not None:
                self.call_inputs[id(call)] = self.next_input
            given.append((self.next_input, due))
            self.next_input += 1
            if machine.step > before:
                break
        return given

    def step(self) -> Beat | None:
        """Take one step and tell of it; None where nothing can run any more."""
        machine = self.machine
        before = machine.step
        given = self.hand_over()
        began = self._newcomers(before)
        held_back = _held_back(machine) if machine.nr_held_back else []
        if machine.step == before:
            machine.run(before + 1)
        if machine.step == before:
            return None
        for call in held_back:
            if call.done:  # it came in and was done within this very step
                began.append((before, call))
                self._on_cpus[id(call)] = call
        began += self._newcomers(machine.step)
        ended = self._leavers()
        return Beat(machine.step, given, began, ended, machine.take_events())

    def run_to(self, step: int) -> list[EventAt]:
        """Go to a step, or as far as it goes, without telling of calls; returns the events on the way."""
        machine, timeline = self.machine, self.timeline
        while machine.step < step:
            before = machine.step
            self.hand_over()
            self.call_inputs.clear()
            if machine.step > before:
                continue
            limit = step
            if self.next_input < self.inputs_end:
                limit = min(limit, timeline.input_at(self.next_input).step)
            machine.run(limit)
            if machine.step == before:
                break
        return machine.take_events()

    def beats(self) -> Iterator[Beat]:
        """Yield every step of the run up to its end.

        Raises RecordingError if the recording promises more steps, or an input that no machine takes.
        """
        end_step = self.timeline.end_step
        while self.machine.step < end_step:
            try:
                beat = self.step()
            except Exception as problem:
                raise self.timeline.blamed(problem) from problem
            if beat is None:
                raise RecordingError(
                    f"the run ends at step {self.machine.step}, the recording promises step {end_step}"
                )
            yield beat
            for call in beat.ended:
                self.call_inputs.pop(id(call), None)

    def input_of(self, call: Call) -> Input | None:
        """Return the input that gave a call that is under way, None if the machine began it itself."""
        number = self.call_inputs.get(id(call))
        return self.timeline.input_at(number) if number is not None else None

    def _newcomers(self, step: int) -> list[tuple[int, Call]]:
        found: list[tuple[int, Call]] = []
        on_cpus = self._on_cpus
        for number in self.machine.active:
            for call in self.machine.cpus[number].stack:
                if id(call) not in on_cpus:
                    on_cpus[id(call)] = call
                    found.append((step, call))
        return found

    def _leavers(self) -> list[Call]:
        """Return the calls that are on no CPU any more, innermost first."""
        cpus = self.machine.cpus
        ended = [
            call
            for call in self._on_cpus.values()
            if call.done or all(call is not here for here in cpus[call.cpu].stack)
        ]
        for call in ended:
            del self._on_cpus[id(call)]
        return ended[::-1]


def _held_back(machine: Machine) -> list[Call]:
    return [call for cpu in machine.cpus.values() for call in cpu.interrupts]


class Retold(Timeline):
    """A new time line that is given the inputs of an old one, each at the step it had.

    A time line that is full lets the calls under way end before it takes one more input. Here that
    would move the input, so a keyframe is only taken where no call is under way.
    """

    keeps_steps = True

    def is_segment_full(self, nr_bytes: int = 0) -> bool:
        """Say whether a keyframe is due and can be taken without letting any call end first."""
        is_full = super().is_segment_full(nr_bytes)
        return is_full and (self.machine.is_idle or not self.keeps_steps)


def retell(timeline: Timeline, given: Input) -> None:
    """Go to an input's step and add it there, at the end of a run that stands at its newest step.

    Raises RecordingError if the run does not get there.
    """
    go_on_to(timeline, given.step)
    number = timeline.give(given.do, given.cpu, given.args, given.line, given.by)
    step = timeline.input_at(number).step
    if step != given.step:
        raise RecordingError(f"an input of step {given.step} can only be given at step {step}")


def go_on_to(timeline: Timeline, step: int) -> None:
    """Let the machine take steps up to one, which must be the present or a later one."""
    if timeline.step > step or (timeline.step < step and not timeline.advance(step)):
        raise RecordingError(
            f"the run stands at step {timeline.step}, but its next input or end is of step {step}"
        )
