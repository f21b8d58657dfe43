"""Segments and keyframes of one branch, read from a file when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from kernel_sim.machine_state import Parts
from snapshots.container.blobs import BLOB_HASH_BYTES, BlobHash
from snapshots.container.recording_file import RecordEntry, RecordingReader
from snapshots.errors import RecordingError
from snapshots.keyframes import HashChain, PartLoader
from snapshots.part_shapes import check_part
from snapshots.recording_sink import PATCH
from snapshots.segment import SegmentBody, unpack_segment

ChangedParts = tuple[bool, Mapping[str, BlobHash], tuple[str, ...]]


class FileParts:
    """The parts in a file, for all its branches: blobs and patches by hash, checked when first met."""

    def __init__(self, reader: RecordingReader) -> None:
        self.reader = reader
        self.loader = PartLoader(self, check_part)
        self._patches: dict[bytes, RecordEntry] | None = None

    def find_blob(self, name: BlobHash) -> bytes | None:
        """Return a whole part's bytes, None if it is not kept whole."""
        return self.reader.blob(name) if self.reader.has_blob(name) else None

    def find_patch(self, name: BlobHash) -> tuple[BlobHash, bytes] | None:
        """Return the hash of another part and the patch on it, None if there is none."""
        if self._patches is None:
            self._patches = {
                hashed: entry
                for entry in self.reader.records(PATCH)
                if isinstance(hashed := entry.key.get("h"), bytes)
            }
        entry = self._patches.get(name)
        if entry is None:
            return None
        base, data = entry.key.get("o"), self.reader.read(entry)
        if not isinstance(base, bytes) or not isinstance(data, bytes):
            raise RecordingError(
                f"{self.reader.path}: byte {entry.offset_bytes}: a patch is no bytes on a part"
            )
        return BlobHash(base), data

    def take_patch(self, entry: RecordEntry) -> None:
        """Take up a patch that was written since."""
        hashed = entry.key.get("h")
        if self._patches is not None and isinstance(hashed, bytes):
            self._patches[hashed] = entry


class FileSource:
    """One branch in a file; what lies before its first own segment belongs to its parent."""

    def __init__(
        self,
        parts: FileParts,
        keyframes: list[RecordEntry],
        segments: list[RecordEntry],
        parent: FileSource | None = None,
        nr_shared: int = 0,
    ) -> None:
        self.reader = parts.reader
        self.keyframes = keyframes
        self.segments = segments
        self.parent = parent
        self.nr_shared = nr_shared
        self._parts = parts
        self._chain = HashChain(self._changed)

    def parts(self, number: int) -> Parts:
        """Return the machine's parts at a keyframe; equal ones are the same objects, if kept."""
        try:
            return self._parts.loader.parts(self.hashes(number))
        except RecordingError as problem:
            if str(problem).startswith(f"{self.reader.path}: "):
                raise
            at = self._offset_of(number)
            raise RecordingError(
                f"{self.reader.path}: byte {at}: keyframe {number}: {problem}"
            ) from problem

    def _offset_of(self, number: int) -> int:
        """Return where in the file the record of a keyframe begins."""
        source = self._keeper(number)
        return source.keyframes[number - source.nr_shared].offset_bytes

    def hashes(self, number: int) -> dict[str, BlobHash]:
        """Return the hash of every part at a keyframe."""
        return self._keeper(number)._chain.hashes(number)

    def _keeper(self, number: int) -> FileSource:
        """Return the branch that has a segment itself; one of a branch of … may be hundreds deep."""
        keeper = self
        while number < keeper.nr_shared and keeper.parent is not None:
            keeper = keeper.parent
        return keeper

    def _changed(self, number: int) -> ChangedParts:
        """Return what a keyframe record says; before schema 3 all of them are full."""
        own = number - self.nr_shared
        if not 0 <= own < len(self.keyframes):
            raise RecordingError(f"{self.reader.path}: there is no keyframe {number}")
        entry = self.keyframes[own]
        body = self.reader.read(entry)
        is_full, changed, gone = True, body, cast("list[object]", [])
        if isinstance(body, list) and len(body) == 2:
            changed, gone = body
            is_full = entry.key.get("f") is True
        if not isinstance(changed, dict) or not isinstance(gone, list):
            raise RecordingError(f"{self.reader.path}: keyframe {number} is not a map of parts")
        for name, blob in changed.items():
            if not isinstance(name, str) or not _is_hash(blob):
                raise RecordingError(
                    f"{self.reader.path}: keyframe {number}: part {name!r:.60} has no hash"
                )
        if not all(isinstance(name, str) for name in gone):
            raise RecordingError(f"{self.reader.path}: keyframe {number} drops parts without names")
        return is_full, cast("dict[str, BlobHash]", changed), tuple(cast("list[str]", gone))

    def packed(self, number: int) -> bytes:
        """Return a segment as it stands in the file."""
        keeper = self._keeper(number)
        entry = keeper.segments[number - keeper.nr_shared]
        packed = self.reader.read(entry)
        if not isinstance(packed, bytes):
            raise RecordingError(f"{self.reader.path}: segment {number} is not bytes")
        return packed

    def body(self, number: int) -> SegmentBody:
        """Return what is in a segment."""
        keeper = self._keeper(number)
        if number - keeper.nr_shared == len(keeper.segments):
            return SegmentBody([], [])  # a killed writer had only begun it
        body = unpack_segment(self.packed(number))
        key = keeper.segments[number - keeper.nr_shared].key
        promised = tuple(key.get(name) for name in ("ni", "ne"))
        if (len(body.inputs), body.nr_events) != promised:
            raise RecordingError(
                f"{self.reader.path}: segment {number} holds {len(body.inputs)} inputs and"
                f" {body.nr_events} events, its key promises {promised[0]} and {promised[1]}"
            )
        return body


def _is_hash(blob: object) -> bool:
    return isinstance(blob, bytes) and len(blob) == BLOB_HASH_BYTES
