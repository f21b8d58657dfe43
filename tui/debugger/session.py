"""One user's seat: a run, where they stand on it, and every way to move. The same for all fronts.

A long move goes in slices and gives way between them, so that a screen stays alive; it can be given up at
any slice and then stands at a sound position between. The methods named `…_step` only say where a move
would lead, None where there is nothing that way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from kernel_sim.boot import boot
from kernel_sim.call import Arg
from kernel_sim.config import MachineConfig
from kernel_sim.errors import KernelFault
from kernel_sim.events import EVENT_NAMES, EventAt
from kernel_sim.machine import Machine
from snapshots.recording import Origin, save_timeline
from snapshots.segment import Mark
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tui.debugger.births import Births
from tui.debugger.errors import CommandError
from tui.debugger.position import parse_position

INPUTS_LOOKED_AT = 10_000  # for the call that faulted; it is among the last
STEPS_TO_EVENT_MAX = 2000
CHUNK_EVENTS = ("percpu_create_chunk", "percpu_destroy_chunk")
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Session:
    """A timeline and what belongs to the person who looks at it."""

    timeline: Timeline
    origin: Origin = field(default_factory=Origin)
    name: str = ""
    bookmarks: dict[str, int] = field(default_factory=dict)
    branches: list[Timeline] = field(default_factory=list)
    births: Births = field(default_factory=Births)

    @classmethod
    def boot(cls, config: MachineConfig) -> Session:
        """Begin at step 0 of a fresh machine."""
        return cls(Timeline(boot(config)), name=config.name)

    # -- where -------------------------------------------------------------------------------------

    @property
    def machine(self) -> Machine:
        """The live machine at the present position."""
        return self.timeline.machine

    @property
    def step(self) -> int:
        """The present position."""
        return self.timeline.step

    @property
    def first_step(self) -> int:
        """The first position."""
        return self.timeline.first_step

    @property
    def end_step(self) -> int:
        """The last position."""
        return self.timeline.end_step

    @property
    def percent(self) -> int:
        """How far along the present is."""
        length = self.end_step - self.first_step
        return 100 * (self.step - self.first_step) // length if length else 100

    @property
    def marks(self) -> Iterable[Mark]:
        """Creations, destructions and failures of the whole run."""
        return self.timeline.marks()

    @property
    def has_waiting(self) -> bool:
        """Whether inputs were given at or before the present and have not begun."""
        timeline = self.timeline
        return timeline.inputs_before(self.step + 1) > timeline.next_input

    @property
    def has_more(self) -> bool:
        """Whether the machine can go on beyond the newest step."""
        if self.step < self.end_step or self.machine.fault is not None:
            return False
        return self.has_waiting or bool(self.machine.active)

    def digest(self) -> str:
        """Return the digest of the state at the present position."""
        return state_digest(self.machine)

    def position(self, text: str) -> int:
        """Return the step that a typed position means. Raises CommandError."""
        return parse_position(text, self, self.bookmarks)

    # -- events ------------------------------------------------------------------------------------

    @property
    def nr_events(self) -> int:
        """Events of the whole run."""
        return self.timeline.nr_events

    @property
    def event_index(self) -> int:
        """How many events happened up to the present: the number of the next one."""
        return self.timeline.events_before(self.step)

    def event(self, number: int) -> EventAt:
        """Return an event by its number."""
        return self.timeline.event_at(number)

    def event_step(self, number: int) -> int | None:
        """Return the step of an event, None if there is none of that number."""
        return self.timeline.event_at(number).step if 0 <= number < self.nr_events else None

    def next_event_step(self) -> int | None:
        """Return the step of the first event after the present."""
        return self.event_step(self.event_index)

    def previous_event_step(self) -> int | None:
        """Return the step of the last event before the present step."""
        number = self.timeline.events_before(self.step - 1) - 1
        return self.event_step(number) if number >= 0 else None

    def next_call_step(self) -> int | None:
        """Return where the call that is under way, or the next one, has ended: as `next` does."""
        index = self.timeline.inputs_before(self.step) + (0 if self.machine.active else 1)
        if index < self.timeline.nr_inputs:
            step = max(self.timeline.input_at(index).step, self.step + 1)
        else:
            step = self.end_step
        return step if self.step < self.end_step else None

    def previous_call_step(self) -> int | None:
        """Return where the call before began."""
        if self.step <= self.first_step:
            return None
        index = self.timeline.inputs_before(self.step) - 1
        return self.timeline.input_at(index).step if index >= 0 else self.first_step

    def fault_begin_step(self) -> int | None:
        """Return where the call began that stopped the machine: to go on, act there or before.

        None if the machine runs. A step back is not enough where the call has already begun: whatever is
        done there, it goes on into its fault.
        """
        fault = self.machine.fault
        if fault is None:
            return None
        stack = self.machine.cpus[fault.cpu].stack
        newest = self.timeline.inputs_before(fault.step) - 1
        for index in range(newest, max(newest - INPUTS_LOOKED_AT, -1), -1):
            given = self.timeline.input_at(index)
            if any(call.name == given.do and call.args == given.args for call in stack):
                return given.step
        return self.previous_call_step()

    def mark_step(self, kinds: Collection[str], forward: bool) -> int | None:
        """Return the step of the nearest mark of these kinds ('c', 'd', 'f') that way."""
        steps = [mark.step for mark in self.marks if mark.kind in kinds]
        if forward:
            return min((step for step in steps if step > self.step), default=None)
        return max((step for step in steps if step < self.step), default=None)

    def events_named(self, at: EventAt) -> str:
        """Return the tracepoint name of an event."""
        return EVENT_NAMES[type(at.event)]

    # -- moving ------------------------------------------------------------------------------------

    async def go(self, step: int, progress: Progress | None = None) -> int:
        """Move to a step in slices, giving way between them; returns where it stands.

        Cancelling the task that awaits this stops at the next slice, at a sound position.
        """
        for here in self.timeline.moves(step):
            if progress is not None:
                progress(here, step)
            await asyncio.sleep(0)
        return self.step

    def go_now(self, step: int) -> int:
        """Move to a step at once; for scripts and short moves."""
        self.timeline.seek(step)
        return self.step

    def go_on(self, steps: int = 1) -> int | None:
        """Let the machine take steps beyond the newest one; returns where it stands, None if nothing runs."""
        if not self.has_more:
            return None
        self.timeline.advance(self.step + steps)
        return self.step

    def go_on_to_event(self) -> int | None:
        """Let the machine go on beyond the newest step until something happens, or for a good while."""
        if not self.has_more:
            return None
        number, last = self.nr_events, self.step + STEPS_TO_EVENT_MAX
        while self.nr_events == number and self.step < last and self.has_more:
            self.timeline.advance(self.step + 1)
        return self.step

    # -- acting ------------------------------------------------------------------------------------

    def give(self, cpu: int, do: str, *args: Arg) -> int:
        """Give a CPU a call at the present position; returns the input's number.

        In the past this starts a branch: what came after stays in the old timeline, kept in
        branches. At the newest step it joins what was given there and has not begun yet.
        Raises CommandError if too much waits.
        """
        timeline = self.timeline
        if self.step < self.end_step:
            self.branches.append(timeline)
            self.timeline = timeline = timeline.fork()
        elif self.has_waiting and timeline.is_segment_full():
            # A keyframe is due, and inputs that wait would be lost to whoever starts from it.
            raise CommandError("too much has been given and not begun: run first")
        return timeline.give(do, cpu, args)

    async def run(self, steps: int = NO_LIMIT) -> int:
        """Let all CPUs run until nothing is left to do, or for so many steps; returns the step."""
        goal = min(self.step + steps, NO_LIMIT)
        while self.step < goal and self.timeline.advance(min(self.step + 2000, goal)):
            await asyncio.sleep(0)
        return self.step

    async def call(self, cpu: int, do: str, *args: Arg) -> object:
        """Give a CPU a call, run until everything given is done, and return the call's result.

        Raises KernelFault if the machine stopped on the way.
        """
        number = self.give(cpu, do, *args)
        await self.run()
        if self.machine.fault is not None:
            raise KernelFault(self.machine.fault.reason)
        return self.result(number)

    def result(self, number: int) -> object:
        """Return the result of a call by its input's number, None while it is not done."""
        call = self.timeline.calls.get(number)
        return call.result if call is not None and call.done else None

    def save(self, path: str, *, overwrite: bool = True) -> None:
        """Write the run to a file. Raises RecordingError."""
        save_timeline(path, self.timeline, self.origin, others=self.branches, overwrite=overwrite)
