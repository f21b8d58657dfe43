"""Following a recording that somebody else is still writing: what is new is taken up in place.

    writer     Segment 4 ─ Keyframe 5 ─ tail ─ tail …
    reader     … look ── new records ── heads, inputs and events grow, the machine stays where it was

What was there does not change: at each look one sees a prefix of the run. A branch on which the reader
himself has acted is his own from there on, and is not followed any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kernel_sim.errors import KernelSimError
from snapshots.branches import Branch, BranchTree
from snapshots.container.recording_file import RecordEntry, RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording_heads import BRANCH_KINDS, BranchRecords, branch_of, heads_of
from snapshots.recording_sink import BRANCH, KEYFRAME, PATCH, SEGMENT
from snapshots.recording_source import FileParts
from snapshots.recording_tail import inputs_behind
from snapshots.resuming import resume
from snapshots.segment import SegmentBody, SegmentHead, marks_of
from snapshots.segment_stores import InMemory
from snapshots.timeline import Timeline


@dataclass(slots=True)
class Following:
    """One recording that is followed; look() takes up what is new.

    take_branch(number) makes or names a branch of the tree after its records.
    """

    reader: RecordingReader
    parts: FileParts
    tree: BranchTree
    records: dict[int, BranchRecords]
    take_branch: Callable[[int], None]
    end_steps: dict[int, int] = field(
        default_factory=dict
    )  # how far each branch has come in the file

    def look(self) -> list[RecordEntry]:
        """Take up what was written since the last look; return its records, none if that was nothing.

        Raises: RecordingError if the file was cut, is damaged, or does not fit the machine.
        """
        for number, records in self.records.items():
            self.end_steps[number] = records.end_step
        own = [branch.number for branch in self.tree.branches.values() if _is_acted_on(branch)]
        grown: dict[int, bool] = {}
        found = self.reader.refresh()
        for entry in found:
            self._take(entry, grown)
        here = self.tree.current.timeline
        step, stood = here.step, not here.is_stale
        try:
            for number, is_closed in sorted(grown.items()):
                branch = self.tree.branches.get(number)
                if branch is not None and number not in own:
                    self._grow(branch, is_closed)
        finally:
            if grown and stood:
                here.seek(min(step, here.end_step))
        return found

    def _take(self, entry: RecordEntry, grown: dict[int, bool]) -> None:
        """Put a record where it belongs; grown tells of each branch whether segments came."""
        if entry.kind == PATCH:
            self.parts.take_patch(entry)
        if entry.kind not in BRANCH_KINDS:
            return
        number = branch_of(self.reader.path, entry)
        records = self.records.setdefault(number, BranchRecords())
        records.take(entry)
        is_closed = entry.kind in (KEYFRAME, SEGMENT)
        grown[number] = grown.get(number, False) or is_closed
        if entry.kind == BRANCH or number not in self.tree.branches:
            self.take_branch(number)

    def _grow(self, branch: Branch, is_closed: bool) -> None:
        records = self.records[branch.number]
        branch.end_step_of_file = max(branch.end_step_of_file, records.end_step)
        if branch.loaded is None:
            return
        timeline, end_step = branch.loaded, self.end_steps.get(branch.number, 0)
        if timeline.end_step > end_step:
            _forget_beyond(timeline, end_step)
        if is_closed:
            _take_segments(timeline, records, self.reader)
        _take_tails(timeline, records, self.reader)


def _is_acted_on(branch: Branch) -> bool:
    timeline = branch.loaded
    return timeline is not None and timeline.nr_inputs > timeline.nr_inputs_of_file


def _forget_beyond(timeline: Timeline, step: int) -> None:
    """Take back steps that the reader let the machine take beyond what the file had."""
    timeline.moments.kept = [moment for moment in timeline.moments.kept if moment.step <= step]
    body, head = timeline.open_body, timeline.heads[-1]
    events = [at for at in body.events if at.step <= step]
    gone = len(body.events) - len(events)
    timeline.open_body = SegmentBody(body.inputs, events)
    head.nr_events -= gone
    timeline.nr_events -= gone
    timeline.end_step = step
    timeline.must_reload = True


def _take_segments(timeline: Timeline, records: BranchRecords, reader: RecordingReader) -> None:
    """Take over keyframes and segments that came since; closed ones stay the objects they were."""
    source, before = timeline.source, timeline.heads
    if source is None:
        raise RecordingError(f"{reader.path}: a branch that is in no file cannot be followed")
    heads = heads_of(reader.path, records, before[: timeline.nr_shared])
    last = len(heads) - 1
    nr_same = min(len(before) - 1, last)
    for number in range(nr_same, last):
        heads[number].marks = marks_of(source.body(number).events)
    heads[:nr_same] = before[:nr_same]
    body, newest = source.body(last), heads[-1]
    timeline.heads[:] = heads
    timeline.open_body = body
    timeline.nr_inputs = timeline.nr_inputs_of_file = newest.first_input + len(body.inputs)
    timeline.nr_events = newest.first_event + len(body.events)
    timeline.end_step = newest.last_step
    timeline.nr_from_source = last
    timeline.store = InMemory()
    timeline.store.keyframes.add(source.parts(last))
    timeline.bodies.pop(last, None)


def _take_tails(timeline: Timeline, records: BranchRecords, reader: RecordingReader) -> None:
    """Give the machine the inputs that no segment holds yet, as far as it has not had them."""
    if records.is_ended:
        return
    head: SegmentHead = timeline.heads[-1]
    entries = records.segments
    is_open = bool(entries) and entries[-1].key.get("n") == len(timeline.heads) - 1
    nr_inputs = entries[-1].key.get("ni") if is_open else 0
    nr_held = nr_inputs if type(nr_inputs) is int else 0
    newest = head.first_input + nr_held
    inputs, end_step, problem = inputs_behind(reader, records, newest, timeline.end_step)
    if problem:
        raise RecordingError(f"{reader.path}: {problem}")
    had = timeline.open_body.inputs[nr_held:]
    same = 0
    while same < min(len(had), len(inputs)) and had[same] == inputs[same]:
        same += 1
    if same < len(had):
        _forget_inputs(timeline, len(had) - same)
    if same == len(inputs) and end_step <= timeline.end_step:
        return
    try:
        resume(timeline, inputs[same:], end_step)
    except KernelSimError as problem_found:
        raise RecordingError(
            f"{reader.path}: new inputs do not fit the machine: {problem_found}"
        ) from problem_found


def _forget_inputs(timeline: Timeline, nr_inputs: int) -> None:
    """Take out inputs that waited in the file and were refused by the writer's machine."""
    del timeline.open_body.inputs[-nr_inputs:]
    timeline.heads[-1].nr_inputs -= nr_inputs
    timeline.nr_inputs -= nr_inputs
    timeline.nr_inputs_of_file = timeline.nr_inputs
    timeline.next_input = min(timeline.next_input, timeline.nr_inputs)
