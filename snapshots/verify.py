"""Is a recording true? Run it again from nothing and hold every keyframe and every event against it.

Nothing is loaded on the way: the machine is booted from the config and given the inputs, and what it then
is must be what the file says, part by part.
"""

from __future__ import annotations

import os

from kernel_sim.boot import boot
from kernel_sim.errors import KernelSimError
from kernel_sim.events import EVENT_NAMES, EventAt
from kernel_sim.machine_state import dump_parts
from snapshots.recording import OpenRecording, open_recording
from snapshots.state_codec import PartHashes


def verify_recording(path: str | os.PathLike[str]) -> list[str]:
    """Return the first disagreement, or an empty list if the recording is true to the end.

    Raises RecordingError if it cannot be read at all.
    """
    opened = open_recording(path)
    try:
        return list(opened.warnings) or _run_again(opened)
    finally:
        opened.reader.close()


def _run_again(opened: OpenRecording) -> list[str]:
    timeline = opened.timeline
    timeline.machine = boot(opened.config)  # the one at hand was loaded from the first keyframe
    seen: list[EventAt] = []
    timeline.watch = seen.extend
    hashes = PartHashes()
    for number, head in enumerate(timeline.heads):
        try:
            timeline.advance(head.first_step)
            problem = _event_problem(opened, number - 1, seen) if number else ""
        except KernelSimError as fault:
            problem = f"cannot be run: {fault}"
        problem = problem or _keyframe_problem(opened, number, hashes)
        if problem:
            return [f"{opened.path}: step {timeline.step}: {problem}"]
        seen.clear()
    timeline.advance(timeline.end_step)
    problem = _event_problem(opened, len(timeline.heads) - 1, seen)
    if not problem and timeline.step != timeline.end_step:
        problem = f"the run ends here, the recording at step {timeline.end_step}"
    return [f"{opened.path}: step {timeline.step}: {problem}"] if problem else []


def _event_problem(opened: OpenRecording, number: int, seen: list[EventAt]) -> str:
    recorded = opened.timeline.body(number).events
    for index, (old, new) in enumerate(zip(recorded, seen, strict=False)):
        if old != new:
            return f"event {index} of segment {number}: recorded {_shown(old)}, now {_shown(new)}"
    if len(recorded) != len(seen):
        return f"segment {number}: {len(recorded)} events recorded, {len(seen)} now"
    return ""


def _keyframe_problem(opened: OpenRecording, number: int, hashes: PartHashes) -> str:
    recorded = opened.source.hashes(number)
    now = hashes.of(dump_parts(opened.timeline.machine))
    for name in sorted({*recorded, *now}):
        if recorded.get(name) != now.get(name):
            return f"keyframe {number}: part {name} is not what was recorded"
    return ""


def _shown(at: EventAt) -> str:
    return f"{EVENT_NAMES[type(at.event)]} of cpu {at.cpu} at step {at.step}"
