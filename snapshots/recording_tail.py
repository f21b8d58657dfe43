"""What a killed writer left: inputs behind its last segment. They are given to the machine again.

… Segment 6 ─ Keyframe 7 ─ tail(i=7168, 3 inputs) ─ tail(i=7171, 1 input)        no Segment 7, no Branch
└─────── given again: their events come of that ──────┘
"""

from __future__ import annotations

from typing import cast

from kernel_sim.errors import KernelSimError
from kernel_sim.inputs import Input
from snapshots.container.recording_file import RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording_heads import BranchRecords
from snapshots.resuming import resume
from snapshots.timeline import Timeline

TAIL_INPUTS_MAX = 1 << 13  # between two keyframes; a closed segment takes over long before


def read_tail(reader: RecordingReader, records: BranchRecords, timeline: Timeline) -> list[str]:
    """Add the inputs of a branch's tails to its run and let the machine take them; return what is to be said.

    The branch then ends where its writer was when the last tail was written. Inputs that the machine does
    not take, which only a damaged file has, are left out from the first one on.
    """
    inputs, end_step, problem = inputs_behind(
        reader, records, timeline.nr_inputs, timeline.end_step
    )
    said = [f"{reader.path}: {problem}"] if problem else []
    lost = f"{reader.path}: the recording has no end: what follows step"
    if not inputs and end_step <= timeline.end_step:
        return [*said, f"{lost} {timeline.end_step} is lost"]
    try:
        resume(timeline, inputs, end_step)
    except KernelSimError as problem_found:
        said.append(f"{reader.path}: the last inputs do not fit the machine: {problem_found}")
    given = "1 input" if len(inputs) == 1 else f"{len(inputs)} inputs"
    return [
        *said,
        f"{reader.path}: its writer was killed: {given} behind the last keyframe given again;"
        f" it stands at step {timeline.end_step}",
    ]


def inputs_behind(
    reader: RecordingReader, records: BranchRecords, newest: int, end_step: int
) -> tuple[list[Input], int, str]:
    """Return the inputs that no segment holds, where the writer stood, and what is wrong with the rest.

    The segments hold inputs before newest, and steps up to end_step.
    """
    found: list[Input] = []
    closed_bytes = records.segments[-1].offset_bytes if records.segments else 0
    for entry in records.tails:
        first, nr_inputs = entry.key.get("i"), entry.key.get("ni")
        is_older = entry.offset_bytes < closed_bytes and type(nr_inputs) is int
        if is_older and type(first) is int and type(nr_inputs) is int:
            is_held = first + nr_inputs <= newest
            if is_held or first > newest + len(found):  # or what waited went into a later tail
                continue
        if type(first) is not int or first > newest + len(found):
            return (
                found,
                end_step,
                f"byte {entry.offset_bytes}: a tail begins at input {first!r:.40}",
            )
        try:
            step, inputs = _tail_of(reader.read(entry))
        except RecordingError as problem:
            return found, end_step, f"byte {entry.offset_bytes}: {problem}"
        if len(found) + len(inputs) > TAIL_INPUTS_MAX:
            return found, end_step, f"byte {entry.offset_bytes}: more than {TAIL_INPUTS_MAX} inputs"
        end_step = max(end_step, step)
        if first >= newest:  # of those that two tails hold the later one counts
            found[first - newest :] = inputs
        elif first + len(inputs) > newest:
            found[:] = inputs[newest - first :]
    return found, end_step, ""


def _tail_of(body: object) -> tuple[int, list[Input]]:
    if not isinstance(body, list) or len(body) != 2 or type(body[0]) is not int:
        raise RecordingError("a tail is no step and inputs")
    inputs: list[Input] = []
    for row in cast("list[object]", body[1] if isinstance(body[1], list) else [None]):
        match row:
            case [int(step), str(do), int(cpu), list(args), int(line), str(by)]:
                inputs.append(Input(step, do, cpu, tuple(args), line, by))
            case _:
                raise RecordingError(f"a tail's input is {row!r:.60}")
    return body[0], inputs
