"""A run as an ftrace log: events as the kernel prints them, and in comments what makes it the same run.

    # kmemscope trace 1
    # kmemscope head {"schema": 2, "first_step": 0, …}     machine, origin: what the recording's header has
    # tracer: nop …                                        the kernel's own header
    # kmemscope before "boot-2 [000] ….. percpu_alloc_percpu: …"
    # kmemscope input [0, "pcpu_alloc", 0, [8, 8, …], 0, ""]
                task-2       [000] .....     0.000004: percpu_alloc_percpu: call_site=… size=8 …
    # kmemscope end {"end_step": 4, "inputs": 1, "events": 1, "digest": "…"}

With its comments the log is read back to the same recording (ftrace_import.py). Without them it is what a
real kernel's log is: who has the machine's TOML can replay it, as far as such a log goes. What happened
before tracing began, that is in the run's first inputs if a boot gave them, no such log shows; so those
events stand in comments too.

A task bears the name that the recording has for it. An input without one is a task of its own, for nothing
says that two of them are the same; the background work is a kworker's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kernel_sim.call import IN_IRQ, IN_KWORKER, Call
from kernel_sim.events import EventAt
from kernel_sim.machine import Machine
from snapshots.errors import RecordingError
from snapshots.export.trace_comments import FIRST_LINE, input_row, statement_lines
from snapshots.export.trace_text import task_text, trace_header, trace_line
from snapshots.recording import SCHEMA, Origin
from snapshots.rerun import Beat, Rerun
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline

BOOT = "boot"  # who gave the inputs before tracing began
BREATH_STEPS = 2000  # so long may it take until the next piece
FIRST_PID = 2  # of an input without a task; 1 is init's
KWORKER_PID = 4_000_000  # beyond every real one
IDLE_TASK = "<idle>-0"
Progress = Callable[[int, int], None]


def ftrace_lines(
    timeline: Timeline, origin: Origin, progress: Progress | None = None
) -> Iterator[str]:
    """Yield the log line by line; now and then an empty text, so that whoever writes can breathe.

    The run is made again for it, beside the time line, which is not moved.
    Raises: RecordingError if it does not do what the recording says, or begins after boot.
    """
    if timeline.first_step:
        raise RecordingError(
            f"the recording begins at step {timeline.first_step}: its machine is not as boot made it,"
            " and an ftrace log cannot tell a machine's state; export it as --json or --perfetto"
        )
    rerun = Rerun(timeline)
    nr_before = _nr_before_tracing(timeline)
    yield from _head(timeline, origin, nr_before)
    writer = _LineWriter(rerun, nr_before)
    nr_told = 0
    for beat in rerun.beats():
        for _, given in beat.given:
            yield from statement_lines("input", input_row(given))
        yield from writer.lines_of(beat)
        _check_events(timeline, nr_told, beat)
        nr_told += len(beat.events)
        if beat.step % BREATH_STEPS == 0:
            if progress is not None:
                progress(beat.step, timeline.end_step)
            yield ""
    for number in range(rerun.next_input, timeline.nr_inputs):  # given and not begun
        yield from statement_lines("input", input_row(timeline.input_at(number)))
    end = {
        "end_step": timeline.end_step, "inputs": timeline.nr_inputs, "events": nr_told,
        "digest": state_digest(rerun.machine),
    }  # fmt: skip
    yield from statement_lines("end", end)


def _head(timeline: Timeline, origin: Origin, nr_before: int) -> Iterator[str]:
    machine = timeline.machine
    yield FIRST_LINE
    yield from statement_lines("head", {"schema": SCHEMA, "first_step": timeline.first_step})
    yield from statement_lines("machine", machine.config.to_mapping())
    yield from statement_lines("origin", origin.to_body())
    nr_hidden = 0
    if nr_before:
        first_shown = (
            timeline.input_at(nr_before).step if nr_before < timeline.nr_inputs else 1 << 62
        )
        nr_hidden = timeline.events_before(min(first_shown, timeline.end_step))
    yield trace_header(timeline.nr_events - nr_hidden, len(machine.config.cpus.online))


def _nr_before_tracing(timeline: Timeline) -> int:
    """Return how many of the first inputs were given by a boot, before tracing began."""
    number = 0
    while number < timeline.nr_inputs and timeline.input_at(number).by == BOOT:
        number += 1
    return number


def _check_events(timeline: Timeline, nr_told: int, beat: Beat) -> None:
    for number, seen in enumerate(beat.events, nr_told):
        if number >= timeline.nr_events or timeline.event_at(number) != seen:
            raise RecordingError(
                f"step {seen.step}: event {number} is not what was recorded: the recording is not true,"
                " see `kmemscope verify`"
            )


class _LineWriter:
    """Knows whose step it is, for the TASK-PID of a line."""

    def __init__(self, rerun: Rerun, nr_before: int) -> None:
        self.rerun = rerun
        self.nr_before = nr_before
        self.word_bytes = rerun.machine.arch.word_bytes
        self.ended: dict[int, Call] = {}

    def lines_of(self, beat: Beat) -> Iterator[str]:
        """Yield a line for every event of a step."""
        self.ended = {call.cpu: call for call in beat.ended[::-1]}
        is_before = self.rerun.next_input <= self.nr_before and bool(self.nr_before)
        for at in beat.events:
            task, irq = self._task_of(at)
            line = trace_line(at.step, at.cpu, task, at.event, irq=irq, word_bytes=self.word_bytes)
            if is_before:
                yield from statement_lines("before", line.strip())
            else:
                yield line

    def _task_of(self, at: EventAt) -> tuple[str, bool]:
        """Return TASK-PID of an event and whether it happened in an interrupt."""
        machine = self.rerun.machine
        call = self.ended.get(at.cpu) or machine.cpus[at.cpu].current
        if call is None:
            return IDLE_TASK, False
        return self._task_of_call(machine, call, at.cpu), call.context == IN_IRQ

    def _task_of_call(self, machine: Machine, call: Call, cpu: int) -> str:
        number = self.rerun.call_inputs.get(id(call))
        given = self.rerun.timeline.input_at(number) if number is not None else None
        if call.context == IN_KWORKER:
            by = given.by if given is not None and given.by.startswith("kworker/") else ""
            return task_text(by or f"kworker/{cpu}:0", KWORKER_PID + cpu)
        if given is None:  # an interrupt, or a thread of the kernel: of what it interrupted
            below = [each for each in machine.cpus[cpu].stack if id(each) in self.rerun.call_inputs]
            if not below:
                return IDLE_TASK
            return self._task_of_call(machine, below[-1], cpu)
        return task_text(given.by, FIRST_PID + (number or 0))
