"""Writing a branch of a run into a recording while it goes on.

    [Branch new] ─ Keyframe 0, its Blobs ─ [tail …] ─ Segment 0 ─ Keyframe 1 … ─ Segment n ─ Branch

A tail holds the inputs that came in since, so that a killed session loses none; the Segment that follows
holds them again. A Branch record with a key w says what the branch is and not where it ends: "new" begins
it (what stood under its number was never finished), "told" gives it another name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kernel_sim.inputs import Input
from snapshots.container.blobs import BlobHash
from snapshots.container.recording_file import RecordingWriter
from snapshots.keyframes import EncodedKeyframe, KeyframeEncoder
from snapshots.origin import Origin
from snapshots.segment import SegmentHead, pack_segment
from snapshots.timeline import Timeline

MAIN_BRANCH = 0
KEYFRAME, PATCH, SEGMENT, BRANCH, TAIL = "Keyframe", "Patch", "Segment", "Branch", "tail"
WHAT, NEW, TOLD = "w", "new", "told"  # a Branch record that is no end


class RecordingSink:
    """Writes every keyframe and segment of one branch as soon as they are there."""

    def __init__(self, writer: RecordingWriter, branch: int = MAIN_BRANCH) -> None:
        self.writer = writer
        self.branch = branch

    def keyframe(self, number: int, step: int, encoded: EncodedKeyframe) -> None:
        """Append the keyframe at the beginning of a segment, and what blobs it takes."""
        for name, base, data in encoded.blobs:
            if base is None:
                self.writer.put_blob(data)
            else:
                self.writer.append(PATCH, data, {"h": name, "o": base})
        key = {"b": self.branch, "n": number, "s": step, "f": encoded.is_full}
        hashes = {name: bytes(blob) for name, blob in encoded.changed.items()}
        self.writer.append(KEYFRAME, [hashes, encoded.gone], key)
        self.writer.flush()

    def segment(self, number: int, head: SegmentHead, packed: bytes) -> None:
        """Append a segment; of two of the same number the later one counts."""
        key = {
            "b": self.branch, "n": number, "s": head.first_step, "i": head.first_input,
            "e": head.first_event, "ni": head.nr_inputs, "ne": head.nr_events, "l": head.last_step,
        }  # fmt: skip
        self.writer.append(SEGMENT, packed, key, compress=False)
        self.writer.flush()

    def tail(self, first_input: int, inputs: Sequence[Input], end_step: int) -> None:
        """Append inputs that no segment holds yet, and how far the machine has come."""
        body = [
            [given.step, given.do, given.cpu, given.args, given.line, given.by] for given in inputs
        ]
        key = {"b": self.branch, "i": first_input, "ni": len(body), "l": end_step}
        self.writer.append(TAIL, [end_step, body], key)
        self.writer.flush()

    def tell(self, about: Mapping[str, object], end_step: int, what: str) -> None:
        """Append what the branch is (see about_branch()), without saying where it ends."""
        body = {"end": end_step, "marks": [], **about}
        self.writer.append(BRANCH, body, {"b": self.branch, WHAT: what})

    def finish(
        self, timeline: Timeline, origin: Origin, about: Mapping[str, object] | None = None
    ) -> None:
        """Append what is still open, where the branch ends and how it all came about."""
        self.open_segment(timeline)
        self.end(timeline, origin, about)

    def open_segment(self, timeline: Timeline) -> None:
        """Append what is still open, as a segment that a later one of its number takes over."""
        head = timeline.heads[-1]
        head.last_step = timeline.end_step
        self.segment(len(timeline.heads) - 1, head, pack_segment(timeline.open_body))

    def end(
        self, timeline: Timeline, origin: Origin, about: Mapping[str, object] | None = None
    ) -> None:
        """Append where the branch ends; of several such records the last one counts."""
        shared = timeline.nr_shared if about else 0
        marks = [[mark.step, mark.kind] for mark in timeline.marks(shared)]
        body = {
            "end": timeline.end_step,
            "marks": marks,
            "origin": origin.to_body(),
            **(about or {}),
        }
        self.writer.append(BRANCH, body, {"b": self.branch})


def writing_run(
    writer: RecordingWriter,
    timeline: Timeline,
    origin: Origin,
    branch: int = MAIN_BRANCH,
    about: Mapping[str, object] | None = None,
    known: dict[BlobHash, int] | None = None,
) -> Iterator[None]:
    """Append, in slices, a whole run, or of one that shares segments with another, what is its own.

    known: the parts that the file holds, which grows. All branches of one file must share it: two of them
    could else describe two parts each as a patch on the other.
    """
    sink = RecordingSink(writer, branch)
    encoder = KeyframeEncoder(known={} if known is None else known)
    first = timeline.nr_shared if about else 0
    for number in range(first, len(timeline.heads)):
        head = timeline.heads[number]
        parts = timeline.keyframe_parts(number)
        yield
        sink.keyframe(number, head.first_step, encoder.encode(parts))
        if number + 1 < len(timeline.heads):
            sink.segment(number, head, timeline.packed(number))
        yield
    sink.finish(timeline, origin, about)
