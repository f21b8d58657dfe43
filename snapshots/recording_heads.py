"""The segments of a branch as their records' keys promise them, checked: one follows the other.

Nothing is unpacked here: opening a long recording reads its index and no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from snapshots.container.recording_file import RecordEntry, RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording_sink import BRANCH, KEYFRAME, NEW, SEGMENT, TAIL, TOLD, WHAT
from snapshots.segment import Mark, SegmentHead

BRANCH_KINDS = (KEYFRAME, SEGMENT, BRANCH, TAIL)
NUMBERS = ("s", "i", "e", "ni", "ne", "l")


@dataclass(slots=True)
class BranchRecords:
    """All records of one branch, in the order of the file."""

    keyframes: list[RecordEntry] = field(default_factory=list)
    segments: list[RecordEntry] = field(default_factory=list)
    tails: list[RecordEntry] = field(default_factory=list)
    end: RecordEntry | None = None
    about: RecordEntry | None = None  # what the branch is; often that same record

    def take(self, entry: RecordEntry) -> None:
        """Put a record where it belongs; of two of the same number the later one counts."""
        if entry.kind == TAIL:
            self.tails.append(entry)
        elif entry.kind == BRANCH:
            self._take_branch(entry)
        else:
            rows = self.keyframes if entry.kind == KEYFRAME else self.segments
            if rows and rows[-1].key.get("n") == entry.key.get("n"):
                rows.pop()
            rows.append(entry)

    def _take_branch(self, entry: RecordEntry) -> None:
        self.about = entry
        what = entry.key.get(WHAT)
        if what == NEW:  # what stood under this number before was never finished
            self.end = None
            for rows in (self.keyframes, self.segments, self.tails):
                rows.clear()
        elif what != TOLD:
            self.end = entry

    @property
    def is_ended(self) -> bool:
        """Whether nothing of the run was written after the branch's end."""
        if self.end is None:
            return False
        newest = [rows[-1].offset_bytes for rows in (self.segments, self.tails) if rows]
        return max(newest, default=0) <= self.end.offset_bytes

    @property
    def is_begun(self) -> bool:
        """Whether there is enough to show something: no more than a killed writer's first records are not."""
        return self.about is not None and bool(self.keyframes and (self.segments or self.tails))

    @property
    def end_step(self) -> int:
        """The newest step that the records promise."""
        last = [rows[-1].key.get("l") for rows in (self.segments, self.tails) if rows]
        last += [each.key.get("s") for each in self.keyframes[-1:]]
        return max((step for step in last if type(step) is int), default=0)


def records_by_branch(reader: RecordingReader) -> dict[int, BranchRecords]:
    """Return the records of every branch by its number, ascending. Raises RecordingError."""
    found: dict[int, BranchRecords] = {}
    entries = [entry for kind in BRANCH_KINDS for entry in reader.records(kind)]
    for entry in sorted(entries, key=lambda entry: entry.number):
        found.setdefault(branch_of(reader.path, entry), BranchRecords()).take(entry)
    return dict(sorted(found.items()))


def branch_of(path: Path, entry: RecordEntry) -> int:
    """Return the branch to which a record belongs. Raises RecordingError."""
    branch = entry.key.get("b")
    if type(branch) is not int or branch < 0:
        raise RecordingError(
            f"{path}: byte {entry.offset_bytes}: a {entry.kind} of branch {branch!r:.40}"
        )
    return branch


def heads_of(path: Path, records: BranchRecords, shared: list[SegmentHead]) -> list[SegmentHead]:
    """Return the heads of a branch, those it shares first. Raises RecordingError.

    A keyframe without a segment, as a killed writer leaves it, begins one that is empty.
    """
    own = [_head_of(path, entry) for entry in records.segments]
    if len(records.keyframes) > len(own):
        own.append(_begun_head(path, records.keyframes[len(own)], own or shared))
    if not own:
        raise RecordingError(f"{path}: no keyframe of a branch is complete: nothing to show")
    _check_numbers(path, KEYFRAME, records.keyframes[: len(own)], own, len(shared))
    _check_numbers(path, SEGMENT, records.segments, own[: len(records.segments)], len(shared))
    heads = [*shared, *own]
    following = SegmentHead(heads[0].first_step, 0, 0)
    for number, head in enumerate(heads):
        place = (head.first_step, head.first_input, head.first_event)
        if place != (following.first_step, following.first_input, following.first_event):
            raise RecordingError(
                f"{path}: segment {number} does not begin where the one before ends"
            )
        if head.last_step < head.first_step:
            raise RecordingError(f"{path}: segment {number} ends before it begins")
        following = end_of(head)
    return heads


def _begun_head(path: Path, keyframe: RecordEntry, before: list[SegmentHead]) -> SegmentHead:
    step = keyframe.key.get("s")
    if type(step) is not int or step < 0:
        raise RecordingError(
            f"{path}: byte {keyframe.offset_bytes}: a keyframe at step {step!r:.40}"
        )
    head = end_of(before[-1]) if before else SegmentHead(step, 0, 0)
    head.last_step = head.first_step
    return head


def end_of(head: SegmentHead) -> SegmentHead:
    """Return an empty segment that begins where this one ends."""
    return SegmentHead(
        head.last_step, head.first_input + head.nr_inputs, head.first_event + head.nr_events
    )


def _head_of(path: Path, entry: RecordEntry) -> SegmentHead:
    numbers = [entry.key.get(name) for name in NUMBERS]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise RecordingError(
            f"{path}: byte {entry.offset_bytes}: a segment's key should hold six numbers"
        )
    first_step, first_input, first_event, nr_inputs, nr_events, last_step = cast(
        "list[int]", numbers
    )
    return SegmentHead(first_step, first_input, first_event, nr_inputs, nr_events, last_step)


def _check_numbers(
    path: Path, kind: str, entries: list[RecordEntry], heads: list[SegmentHead], first: int
) -> None:
    """Refuse records that are not one for each segment in order."""
    numbers = [(entry.key.get("n"), entry.key.get("s")) for entry in entries]
    if numbers != [(number, head.first_step) for number, head in enumerate(heads, first)]:
        raise RecordingError(f"{path}: the records {kind} are not one for each segment in order")


def set_marks(path: Path, heads: list[SegmentHead], rows: object) -> None:
    """Give the marks of a branch record to the segments in which they are. Raises RecordingError."""
    if not isinstance(rows, list):
        raise RecordingError(f"{path}: the marks of a branch are no list")
    number = 0
    for row in rows:
        mark = _mark_of(path, row)
        while number + 1 < len(heads) and mark.step > heads[number + 1].first_step:
            number += 1
        heads[number].marks.append(mark)


def _mark_of(path: Path, row: object) -> Mark:
    if isinstance(row, list) and len(row) == 2:
        step, kind = row
        if isinstance(step, int) and isinstance(kind, str):
            return Mark(step, kind)
    raise RecordingError(f"{path}: a mark of the branch is no step and letter")
