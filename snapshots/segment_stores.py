"""Where closed segments and their keyframes are kept: a file, memory, or the branch gone off from."""

from __future__ import annotations

from typing import Protocol

from kernel_sim.machine_state import Parts
from snapshots.keyframes import EncodedKeyframe, MemoryKeyframes
from snapshots.segment import SegmentBody, SegmentHead, unpack_segment


class KeyframeSource(Protocol):
    """Where closed segments and their keyframes are kept: in memory, or in a file."""

    def parts(self, number: int) -> Parts:
        """Return the machine's parts at the beginning of a segment."""

    def body(self, number: int) -> SegmentBody:
        """Return what is in a segment."""

    def packed(self, number: int) -> bytes:
        """Return a segment as it is packed."""


class SegmentSink(Protocol):
    """Who wants to know of every keyframe and finished segment: a file that is being written."""

    def keyframe(self, number: int, step: int, encoded: EncodedKeyframe) -> None:
        """Take the keyframe at the beginning of a segment."""

    def segment(self, number: int, head: SegmentHead, packed: bytes) -> None:
        """Take a closed segment."""


class InMemory:
    """Keyframes and packed segments of a run that is not, or not yet, in a file."""

    def __init__(self) -> None:
        self.keyframes = MemoryKeyframes()
        self.packed: list[bytes] = []

    def parts(self, number: int) -> Parts:
        """Return the machine's parts at the beginning of a segment."""
        return self.keyframes.parts(number)

    def body(self, number: int) -> SegmentBody:
        """Return what is in a segment."""
        return unpack_segment(self.packed[number])


class Run(Protocol):
    """A branch, as far as one that goes off from it needs it."""

    nr_from_source: int
    source: KeyframeSource | None

    def keyframe_parts(self, number: int) -> Parts:
        """Return the machine's parts at the beginning of a segment."""

    def body(self, number: int) -> SegmentBody:
        """Return what is in a segment."""

    def packed(self, number: int) -> bytes:
        """Return a segment as it is packed."""


class Shared:
    """The closed segments of another branch."""

    def __init__(self, owner: Run) -> None:
        self.owner = owner

    def parts(self, number: int) -> Parts:
        """Return the machine's parts at the beginning of a segment."""
        return self._keeper(number).keyframe_parts(number)

    def body(self, number: int) -> SegmentBody:
        """Return what is in a segment."""
        return self._keeper(number).body(number)

    def packed(self, number: int) -> bytes:
        """Return a segment as it is packed."""
        return self._keeper(number).packed(number)

    def _keeper(self, number: int) -> Run:
        """Return who keeps a segment itself; a branch of a branch of … may be hundreds deep."""
        keeper = self.owner
        while number < keeper.nr_from_source and isinstance(keeper.source, Shared):
            keeper = keeper.source.owner
        return keeper
