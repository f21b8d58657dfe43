"""What a file holds of a tree of branches, and the appending of what is new.

    held      main  keyframes 0…7   segments 0…6   12 inputs behind
    the tree  main  segment 7 is closed, 3 inputs behind it;  b1 goes off from main
    appended  Segment 7 ─ Keyframe 8 ─ tail(3) ─ Branch b1 "new" ─ Keyframe 5 ─ tail

Nothing is appended where nothing is new. After each record the file is as good as before, or better.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field

from kernel_sim.inputs import Input
from snapshots.bookmarks import Bookmark, gone_body, read_bookmarks
from snapshots.branches import MAIN, Branch, BranchTree
from snapshots.container.blobs import BLOB_KIND, BlobHash
from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.errors import RecordingError
from snapshots.keyframes import PATCHES_MAX, KeyframeEncoder
from snapshots.origin import Origin
from snapshots.recording import BOOKMARK, CONFIG, about_branch
from snapshots.recording_heads import BranchRecords, records_by_branch
from snapshots.recording_sink import NEW, PATCH, TOLD, RecordingSink
from snapshots.segment import unpack_segment
from snapshots.timeline import Timeline


@dataclass(slots=True)
class HeldBranch:
    """What of a branch is in the file; numbers of segments and keyframes count those it shares."""

    name: str
    note: str
    nr_keyframes: int
    open_number: int  # the first segment that is not in the file as it will remain
    nr_inputs: int = 0  # of that one, in a record Segment of the file; the others are in tails
    inputs: list[Input] = field(default_factory=list)  # of that one, all that are in the file
    end_step: int = 0
    is_ended: bool = False
    encoder: KeyframeEncoder = field(default_factory=KeyframeEncoder)


@dataclass(slots=True)
class Held:
    """All that a file holds, by branch.

    known are the parts in it, each as if it rested on as many patches as may be.
    """

    branches: dict[int, HeldBranch] = field(default_factory=dict)
    bookmarks: dict[str, Bookmark] = field(default_factory=dict)
    known: dict[BlobHash, int] = field(default_factory=dict)


def held_by(reader: RecordingReader, writer: RecordingWriter) -> Generator[None, None, Held]:
    """Find out, in slices, what a file holds, or the copy of it that has a writer. Raises RecordingError."""
    held = Held()
    for kind, name in ((BLOB_KIND, "hash"), (PATCH, "h")):
        found = yield from writer.names(kind, name)
        held.known.update((BlobHash(blob), PATCHES_MAX) for blob in found)
    for number, records in records_by_branch(reader).items():
        if number == MAIN or records.is_begun:
            held.branches[number] = _held_branch(reader, records, held.known)
        yield
    held.bookmarks = read_bookmarks([reader.read(entry) for entry in reader.records(BOOKMARK)])
    return held


def _held_branch(
    reader: RecordingReader, records: BranchRecords, known: dict[BlobHash, int]
) -> HeldBranch:
    body = reader.read(records.about) if records.about is not None else {}
    if not isinstance(body, dict):
        raise RecordingError(f"{reader.path}: a branch record is no map")
    nr_shared = body.get("shared", 0)
    segments = records.segments
    is_begun = len(records.keyframes) > len(segments)  # all segments are closed, one more begins
    inputs: list[Input] = []
    if segments and not is_begun:
        packed = reader.read(segments[-1])
        inputs = unpack_segment(packed if isinstance(packed, bytes) else b"").inputs
    if type(nr_shared) is not int:
        raise RecordingError(f"{reader.path}: a branch shares {nr_shared!r:.40} segments")
    return HeldBranch(
        str(body.get("name", "main")), str(body.get("note", "")), nr_shared + len(records.keyframes),
        nr_shared + len(segments) - (not is_begun and bool(segments)), len(inputs), list(inputs),
        records.end_step, records.is_ended, KeyframeEncoder(known=known),
    )  # fmt: skip


class TreeGrowth:
    """Appends what a tree has more than its file."""

    def __init__(self, writer: RecordingWriter, held: Held | None = None) -> None:
        self.writer = writer
        self.held = held or Held()
        self.is_broken = (
            False  # interrupted in the middle: what it believes to be in the file may not be
        )

    def grow(
        self, tree: BranchTree, origin: Origin, bookmarks: Mapping[str, Bookmark]
    ) -> Iterator[None]:
        """Append what is new, in slices: all that was given and done survives a kill after the last."""
        try:
            for _, branch in tree.walk():
                yield from self._grow_branch(branch, origin, with_tail=True)
            self._grow_bookmarks(bookmarks)
        except GeneratorExit:
            raise  # between two slices all is well
        except BaseException:
            self.is_broken = True
            raise

    def finish(
        self, tree: BranchTree, origin: Origin, bookmarks: Mapping[str, Bookmark]
    ) -> Iterator[None]:
        """Append what is new and where each branch ends, in slices, so that nothing need be given again."""
        for _, branch in tree.walk():
            held = self.held.branches.get(branch.number)
            if held is None or not held.is_ended or _differs(held, branch):
                yield from self._grow_branch(branch, origin, with_tail=False)
                yield from self._end(branch, origin)
        self._grow_bookmarks(bookmarks)

    def is_behind(self, tree: BranchTree, bookmarks: Mapping[str, Bookmark]) -> bool:
        """Say whether the tree has anything that the file has not."""
        if self.held.bookmarks != dict(bookmarks):
            return True
        branches = self.held.branches
        return any(
            branch.number not in branches or _differs(branches[branch.number], branch)
            for branch in tree.branches.values()
        )

    def _grow_branch(self, branch: Branch, origin: Origin, *, with_tail: bool) -> Iterator[None]:
        held = self.held.branches.get(branch.number)
        if held is not None and not _differs(held, branch):
            return
        sink = RecordingSink(self.writer, branch.number)
        if held is None:
            held = self._introduce(branch, origin, sink)
            yield
        elif (held.name, held.note) != (branch.name, branch.note):
            sink.tell(_about(branch, origin), branch.timeline.end_step, TOLD)
            held.name, held.note = branch.name, branch.note
            self.writer.flush()
        timeline, is_closed = branch.timeline, True
        while is_closed:
            number = held.open_number
            if number >= held.nr_keyframes:
                parts = timeline.keyframe_parts(number)
                yield
                encoded = held.encoder.encode(parts)
                sink.keyframe(number, timeline.heads[number].first_step, encoded)
                held.nr_keyframes = number + 1
                yield
            is_closed = number + 1 < len(timeline.heads)  # asked late: it may have grown meanwhile
            if is_closed:
                _keep_waiting(held, timeline, number, sink)
                sink.segment(number, timeline.heads[number], timeline.packed(number))
                held.open_number, held.inputs, held.nr_inputs = number + 1, [], 0
                held.is_ended = False
                yield
        if with_tail:
            _grow_tail(held, timeline, sink)

    def _introduce(self, branch: Branch, origin: Origin, sink: RecordingSink) -> HeldBranch:
        timeline = branch.timeline
        sink.tell(_about(branch, origin), timeline.end_step, NEW)
        if branch.has_own_machine:
            mapping = timeline.machine.config.to_mapping()
            self.writer.append(CONFIG, mapping, {"b": branch.number})
        first = timeline.nr_shared
        held = HeldBranch(
            branch.name, branch.note, first, first, end_step=-1,
            encoder=KeyframeEncoder(known=self.held.known),
        )  # fmt: skip
        self.held.branches[branch.number] = held
        return held

    def _end(self, branch: Branch, origin: Origin) -> Iterator[None]:
        held, timeline = self.held.branches[branch.number], branch.timeline
        if held.is_ended and not _has_grown(held, timeline):
            return
        RecordingSink(self.writer, branch.number).finish(timeline, origin, about_branch(branch))
        held.inputs = list(timeline.open_body.inputs)
        held.nr_inputs, held.end_step, held.is_ended = len(held.inputs), timeline.end_step, True
        yield

    def _grow_bookmarks(self, bookmarks: Mapping[str, Bookmark]) -> None:
        held = self.held.bookmarks
        if held == dict(bookmarks):
            return
        for name in [name for name in held if name not in bookmarks]:
            self.writer.append(BOOKMARK, gone_body(name), {})
            del held[name]
        for name, bookmark in bookmarks.items():
            if held.get(name) != bookmark:
                self.writer.append(BOOKMARK, bookmark.to_body(), {})
                held[name] = bookmark
        self.writer.flush()


def _differs(held: HeldBranch, branch: Branch) -> bool:
    if (held.name, held.note) != (branch.name, branch.note):
        return True
    return branch.loaded is not None and _has_grown(held, branch.loaded)


def _has_grown(held: HeldBranch, timeline: Timeline) -> bool:
    last = len(timeline.heads) - 1
    if held.nr_keyframes <= last or held.open_number < last or held.end_step < timeline.end_step:
        return True
    return held.inputs != timeline.open_body.inputs


def _grow_tail(held: HeldBranch, timeline: Timeline, sink: RecordingSink) -> None:
    inputs, before = timeline.open_body.inputs, held.inputs
    if inputs == before and timeline.end_step <= held.end_step:
        return
    held.is_ended = False
    if inputs[: held.nr_inputs] != before[: held.nr_inputs]:  # a tail cannot take back a segment's
        sink.open_segment(timeline)
        held.inputs, held.nr_inputs, held.end_step = list(inputs), len(inputs), timeline.end_step
        return
    same = len(before)
    if inputs[:same] != before:  # one that waited was refused, and is none any more
        same = next(
            (at for at, pair in enumerate(zip(inputs, before, strict=False)) if pair[0] != pair[1]),
            min(len(inputs), len(before)),
        )
    sink.tail(timeline.heads[-1].first_input + same, inputs[same:], timeline.end_step)
    held.inputs, held.end_step = list(inputs), timeline.end_step


def _keep_waiting(held: HeldBranch, timeline: Timeline, number: int, sink: RecordingSink) -> None:
    """Put inputs that wait into a tail before a segment is closed without them: no cut may lose them."""
    if number == held.open_number and len(held.inputs) > timeline.heads[number].nr_inputs:
        following = timeline.heads[number + 1]
        sink.tail(following.first_input, timeline.body(number + 1).inputs, held.end_step)


def _about(branch: Branch, origin: Origin) -> dict[str, object]:
    about = about_branch(branch) or {"name": branch.name}
    return about | {"origin": origin.to_body()} if branch.parent is None else about
