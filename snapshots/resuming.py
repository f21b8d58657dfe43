"""Taking a run up again where a killed writer left it: its last inputs are given once more."""

from __future__ import annotations

from kernel_sim.inputs import Input
from snapshots.errors import InputRefused
from snapshots.input_size import bytes_of
from snapshots.timeline import Timeline


def resume(timeline: Timeline, inputs: list[Input], end_step: int) -> None:
    """Give inputs that were read behind the newest segment, as they were given, up to end_step.

    One that the machine refuses was refused then, too. Raises RecordingError where the rest does not fit the
    machine; the run then ends before that.
    """
    timeline.seek(timeline.end_step)
    head = timeline.heads[-1]
    try:
        for given in inputs:
            step = max(given.step, head.first_step)
            _advance(timeline, step)
            timeline.open_body.inputs.append(given._replace(step=step))
            timeline.open_bytes += bytes_of(given.args)
            head.nr_inputs += 1
            timeline.nr_inputs += 1
        _advance(timeline, end_step)
    finally:
        _forget_beyond(timeline, timeline.end_step)
        timeline.nr_inputs_of_file = timeline.nr_inputs


def _advance(timeline: Timeline, step: int) -> None:
    while True:
        nr_inputs = timeline.nr_inputs
        try:
            timeline.advance(step)
        except InputRefused:
            if timeline.nr_inputs == nr_inputs:
                raise  # it stands in a segment of the file, and would be refused for ever
            continue
        return


def _forget_beyond(timeline: Timeline, step: int) -> None:
    """Take out inputs beyond a step: the run never came there."""
    inputs = timeline.open_body.inputs
    while inputs and inputs[-1].step > step:
        inputs.pop()
        timeline.heads[-1].nr_inputs -= 1
        timeline.nr_inputs -= 1
