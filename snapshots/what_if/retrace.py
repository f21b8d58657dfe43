"""Reading a run's program: the recorded inputs are given once more to a bare machine of their own.

    timeline ──► inputs, first keyframe ──► bare machine ──► rows: idle or not, and whose results they name

Events alone would not do: they do not say which call returned what, nor whether the machine was idle.
"""

from __future__ import annotations

from collections.abc import Generator

from kernel_sim.boot import boot
from kernel_sim.call import Call
from kernel_sim.errors import ConfigError
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import load_parts
from snapshots.timeline import Timeline
from snapshots.what_if.program import SLICE_ROWS, SLICE_STEPS, Program, Row, Told
from snapshots.what_if.rebinding import GIVES, Results


class _Tracer:
    """A bare machine on its way through a recorded run."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        config = timeline.machine.config
        self.machine = boot(config)
        self.program = Program(config, timeline.keyframe_parts(0), [])
        load_parts(self.machine, self.program.start)
        self.found = Results(self.machine)
        self.under_way: list[tuple[int, Input, Call]] = []
        self.do_of: dict[int, str] = {}

    def run_to(self, goal: int, told: Told) -> Generator[Told, None, None]:
        machine = self.machine
        while machine.step < goal:
            end = min(machine.step + SLICE_STEPS, goal)
            machine.run(end)
            if machine.step < end:
                return
            yield told

    def take(self, number: int, given: Input) -> None:
        """Note an input as a row, and hand it over."""
        machine, rows = self.machine, self.program.rows
        self._note_ended()
        when_idle = machine.is_idle and machine.step == given.step
        stretch = number if when_idle or not rows else rows[-1].stretch
        references = self.found.references_of(given, self.do_of)
        call = apply_input(machine, given)
        row = Row(number, given.do, given.cpu, given.args, given.step, stretch, when_idle)
        rows.append(row._replace(references=references, line=given.line, by=given.by))
        self.do_of[number] = given.do
        if call is not None and given.do in GIVES:
            self.under_way.append((number, given, call))

    def _note_ended(self) -> None:
        ended = [each for each in self.under_way if each[2].done]
        if not ended:
            return
        self.under_way = [each for each in self.under_way if not each[2].done]
        for number, given, call in ended:
            self.found.note(number, given, call.result)
            if isinstance(call.result, int):
                self.program.results[number] = call.result


def program_of(timeline: Timeline) -> Generator[Told, None, tuple[Program, Machine]]:
    """Read the program of a run, in slices; returns it and a bare machine that stands at the run's end.

    The timeline stays where it is. Inputs that the machine refuses, or to whose step it does not come,
    have no row. The machine's events are those of the whole run. Raises what the timeline would blame.
    """
    try:
        return (yield from _program_of(timeline))
    except Exception as problem:
        blamed = timeline.blamed(problem)
        if blamed is problem:
            raise
        raise blamed from problem


def _program_of(timeline: Timeline) -> Generator[Told, None, tuple[Program, Machine]]:
    tracer = _Tracer(timeline)
    machine, nr_inputs = tracer.machine, timeline.nr_inputs
    last_step = machine.step
    for number in range(timeline.heads[0].first_input, nr_inputs):
        if number % SLICE_ROWS == 0:
            yield number, nr_inputs
        given = timeline.input_at(number)
        if given.step > machine.step:
            yield from tracer.run_to(given.step, (number, nr_inputs))
        if machine.step < given.step:
            break
        try:
            tracer.take(number, given)
        except ConfigError:
            continue
        last_step = given.step
    yield from tracer.run_to(timeline.end_step, (nr_inputs, nr_inputs))
    tracer.program.tail_steps = _tail_steps(tracer, timeline.end_step, last_step)
    return tracer.program, machine


def _tail_steps(tracer: _Tracer, end_step: int, last_step: int) -> int | None:
    """Return how far the run went beyond its last input, None if it could not have gone further."""
    machine = tracer.machine
    if machine.is_idle or machine.fault is not None:
        return None
    if not any(machine.cpus[number].is_runnable() for number in machine.active):
        machine.run(machine.step + 1)  # takes no step, but notices a deadlock
        return None
    return max(end_step - last_step, 0)
