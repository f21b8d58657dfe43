"""A stretch of a recording as a recording of its own, its steps numbered as before.

    ■────────────■──────from───────■──────to─────■────        keyframes of the old one
                 ■─────────────────■──────┤                   what is taken

It begins at the nearest keyframe at or before the first step that is wanted, for a machine can only be
loaded where no call is under way, and ends exactly at the last one. The inputs are given again, so that
everything in it is what a machine did.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from snapshots.bookmarks import Bookmark
from snapshots.branches import MAIN, BranchTree
from snapshots.errors import RecordingError
from snapshots.origin import Origin
from snapshots.recording import save_tree
from snapshots.rerun import Rerun, Retold, go_on_to, retell
from snapshots.timeline import Timeline

SLICE_STEPS = 2000
SLICE_INPUTS = 64
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which part of a run was taken; steps are those of the whole."""

    first_step: int
    end_step: int
    nr_inputs: int
    nr_events: int


def trim_to_file(
    path: str | os.PathLike[str],
    timeline: Timeline,
    origin: Origin,
    first_step: int,
    last_step: int,
    *,
    bookmarks: dict[str, Bookmark] | None = None,
    progress: Progress | None = None,
) -> Stretch:
    """Write the stretch from first_step to last_step of a run to a file; the run is not moved.

    bookmarks: those of this run; the ones in the stretch are kept. Raises RecordingError.
    """
    work = stretch_of(timeline, first_step, last_step)
    while True:
        try:
            here = next(work)
        except StopIteration as end:
            taken: Timeline = end.value
            break
        if progress is not None:
            progress(here, last_step)
    begin, end_step = taken.first_step, taken.end_step
    about = replace(
        origin,
        notes=[*origin.notes, f"steps {begin} to {end_step} of {timeline.end_step}"],
        opens_at=min(max(origin.opens_at, begin), end_step) if origin.opens_at else 0,
    )
    kept = {
        name: replace(bookmark, branch=MAIN)
        for name, bookmark in (bookmarks or {}).items()
        if begin <= bookmark.step <= end_step
    }
    save_tree(path, BranchTree.of(taken), about, kept)
    return Stretch(begin, end_step, taken.nr_inputs, taken.nr_events)


def stretch_of(
    timeline: Timeline, first_step: int, last_step: int
) -> Generator[int, None, Timeline]:
    """Make a run of a stretch in slices, yielding the step reached; returns it.

    Raises RecordingError if the steps are not in the run, or it does not do what was recorded.
    """
    if not timeline.first_step <= first_step <= last_step <= timeline.end_step:
        raise RecordingError(
            f"there is no stretch from step {first_step} to {last_step}; expected steps of"
            f" {timeline.first_step} to {timeline.end_step}, the first one first"
        )
    number = bisect_right(timeline.heads, first_step, key=lambda head: head.first_step) - 1
    head = timeline.heads[number]
    taken = Retold(Rerun(timeline, at_segment=number).machine)
    for index in range(head.first_input, timeline.inputs_before(last_step)):
        if index % SLICE_INPUTS == 0:
            yield taken.step
        retell(taken, timeline.input_at(index))
    while taken.step < last_step:
        go_on_to(taken, min(taken.step + SLICE_STEPS, last_step))
        yield taken.step
    taken.keeps_steps = False
    nr_events = timeline.events_before(last_step) - head.first_event
    if taken.nr_events != nr_events:
        raise RecordingError(
            f"steps {head.first_step} to {last_step}: {nr_events} events recorded, {taken.nr_events} now:"
            " the recording is not true, see `kmemscope verify`"
        )
    return taken
