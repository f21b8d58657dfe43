"""Blobs: bytes known by what they are, so that keyframes share what did not change.

    keyframe at step 100 ──▶ 5c1f… ◀── keyframe at step 200        the same page table, stored once
                             9a07… ◀── keyframe at step 200        another one, which has changed

The name of a blob is the BLAKE2b hash of its bytes (128 bits: two blobs of one recording do not
meet by chance, and nobody gains by forging his own file). It is checked whenever a blob is read.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NewType, Protocol

from snapshots.errors import RecordingError

BlobHash = NewType("BlobHash", bytes)

BLOB_KIND = "Blob"  # critical: without its blobs a keyframe is nothing
BLOB_HASH_BYTES = 16
_HASH_FIELD = "hash"  # in the record's key, so that the index finds a blob without reading it


class BlobSink(Protocol):
    """Where blobs are kept: the writer of a recording, or memory."""

    def put_blob(self, data: bytes) -> BlobHash:
        """Keep the bytes, once, and return the name under which they are found."""


class BlobSource(Protocol):
    """Where blobs are found: the reader of a recording, or memory."""

    def blob(self, name: BlobHash) -> bytes:
        """Return the bytes of that name. Raises: RecordingError if missing or damaged."""


class MemoryBlobs:
    """Blobs of keyframes that no file holds yet."""

    def __init__(self) -> None:
        self._data_by_name: dict[BlobHash, bytes] = {}

    def put_blob(self, data: bytes) -> BlobHash:
        """Keep the bytes, once, and return their name."""
        name = blob_hash(data)
        self._data_by_name.setdefault(name, data)
        return name

    def blob(self, name: BlobHash) -> bytes:
        """Return the bytes of that name. Raises: RecordingError if they are not here."""
        if name not in self._data_by_name:
            raise RecordingError(f"no blob {name.hex()} is kept here")
        return self._data_by_name[name]


def blob_hash(data: bytes) -> BlobHash:
    """Return the name of these bytes."""
    return BlobHash(blake2b(data, digest_size=BLOB_HASH_BYTES).digest())


def blob_key(name: BlobHash) -> dict[str, object]:
    """Return the key of the record that holds this blob."""
    return {_HASH_FIELD: name}


def check_blob(body: object, name: BlobHash, *, offset_bytes: int) -> bytes:
    """Return the bytes in a blob record's body if they are those that its name promises."""
    if not isinstance(body, bytes):
        raise RecordingError(f"byte {offset_bytes}: the body of a blob should be bytes")
    if blob_hash(body) != name:
        raise RecordingError(
            f"byte {offset_bytes}: blob {name.hex()} holds other bytes ({blob_hash(body).hex()})"
        )
    return body
