"""A second machine that goes through a run on its own, so that the one looked at need not move.

    timeline   keyframe ──────────► keyframe ─────────► … the user stands somewhere, and stays there
    scout            └─► one step at a time, through the segment that it was sent to

It reads what the timeline has, its keyframes and inputs, and by the first law of the machine it comes to
the same states. Whoever stops asking leaves nothing behind: no position to be restored, no kept moment
pushed out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from kernel_sim.boot import boot
from kernel_sim.call import Call
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts, load_parts
from snapshots.errors import RecordingError
from snapshots.loaded_machine import check_loaded
from snapshots.segment import SegmentBody
from snapshots.timeline import Timeline

NOBODY = -1
INTERRUPT = "an interrupt"


class Doer(NamedTuple):
    """Who took a step: the CPU and its call, or the input that is no call."""

    cpu: int
    do: str


@dataclass(slots=True)
class Scout:
    """Stands at a step of a segment; number is -1 before it was sent anywhere."""

    timeline: Timeline
    number: int = -1
    body: SegmentBody = field(default_factory=lambda: SegmentBody([], []))
    nr_given: int = 0
    sound: dict[int, None] = field(default_factory=dict)
    written: dict[int, None] = field(default_factory=dict)  # pages, beside memory.changed
    _machine: Machine | None = None
    _coming: int = -1  # the segment on the way into which it is
    _parts: Parts | None = None  # of that segment's keyframe, read and not yet loaded
    _tops: list[tuple[int, Call, int]] = field(default_factory=list)
    _knob: Input | None = None

    @property
    def machine(self) -> Machine:
        """The scout's own machine, booted when first asked for."""
        if self._machine is None:
            self._machine = boot(self.timeline.machine.config)
            self.number = -1
        return self._machine

    @property
    def step(self) -> int:
        """Where it stands."""
        return self.machine.step

    def stand_in(self, number: int, step: int) -> None:
        """Stand in a segment, at a step or before it."""
        while not self.approach(number, step):
            pass

    def approach(self, number: int, step: int) -> bool:
        """Do one piece of the way into a segment, to a step or before it; True once it stands there.

        Each piece is some milliseconds: to read a keyframe, to load it, to unpack the inputs.
        """
        timeline = self.timeline
        if self.number == number and self.machine.step <= step:
            if number == len(timeline.heads) - 1:
                self.body = timeline.body(number)  # it may have been made anew while it grew
            return True
        if self._is_at_border_before(number):
            self._coming, self._parts = number, None
        elif self._coming != number:
            self._parts = timeline.keyframe_parts(number)
            self._coming, self.number = number, -1
            return False
        elif self._parts is not None:
            self._load(number, self._parts)
            self._parts = None
            return False
        self.body = timeline.body(number)
        self.nr_given = 0
        self.number, self._coming = number, -1
        return True

    def _is_at_border_before(self, number: int) -> bool:
        """Say whether it has gone through the segment before: its state is that of the keyframe."""
        heads = self.timeline.heads
        is_before = self.number >= 0 and self.number == number - 1
        return is_before and self.machine.step == heads[number].first_step and self.machine.is_idle

    def _load(self, number: int, parts: Parts) -> None:
        timeline, machine = self.timeline, self.machine
        head = timeline.heads[number]
        machine.memory.changed |= self.written  # they must be loaded again
        self.written.clear()
        try:
            load_parts(machine, parts)
            if machine.step != head.first_step:
                raise RecordingError(
                    f"the keyframe at step {head.first_step} holds the state of step {machine.step}"
                )
            if timeline.is_foreign and number not in self.sound:
                check_loaded(machine)
                self.sound[number] = None
        except Exception as problem:
            self._forget_machine()  # half loaded
            raise timeline.blamed(problem) from problem

    def _forget_machine(self) -> None:
        self._machine, self._parts = None, None
        self.number = self._coming = -1
        self.written.clear()

    def take_step(self) -> None:
        """Take one step. Raises RecordingError where the recording promises one and there is none."""
        machine = self.machine
        before = machine.step
        try:
            if not self._hand_over():
                cpus = machine.cpus
                tops = [(cpu, cpus[cpu].stack[-1]) for cpu in machine.active]
                self._tops = [(cpu, call, call.nr_resumed) for cpu, call in tops]
                machine.run(before + 1)
            if machine.step == before:
                raise RecordingError(
                    f"what the recording gives the machine ends at step {before}; expected more steps"
                )
        except Exception as problem:
            self._forget_machine()
            raise self.timeline.blamed(problem) from problem

    def take_written(self) -> bool:
        """Say whether memory was written since the last time this was asked."""
        changed = self.machine.memory.changed
        if not changed:
            return False
        self.written |= changed
        changed.clear()
        return True

    def _hand_over(self) -> bool:
        """Hand over the inputs that wait here; True if one of them took the step."""
        machine, inputs = self.machine, self.body.inputs
        here = machine.step
        self._knob = None
        while self.nr_given < len(inputs) and inputs[self.nr_given].step <= here:
            given = inputs[self.nr_given]
            apply_input(machine, given)
            self.nr_given += 1
            if machine.step > here:
                self._knob = given
                return True
        return False

    def doer(self) -> Doer:
        """Return who took the last step."""
        if self._knob is not None:
            return Doer(self._knob.cpu, self._knob.do)
        number = self.machine.scheduler.last_cpu
        cpu = self.machine.cpus.get(number)
        if cpu is None:
            return Doer(NOBODY, "")
        for top, call, nr_resumed in self._tops:
            if top == number and call.nr_resumed > nr_resumed:
                return Doer(number, call.name)
        return Doer(number, cpu.stack[-1].name if cpu.stack else INTERRUPT)
