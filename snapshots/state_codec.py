"""A machine's parts as blobs: the bytes that keyframes share and digests are made of.

One encoding serves both, so that a digest on the screen, in a file and in another process are the same
thing: blake2b over the names of all parts and the hashes of their bytes.
"""

from __future__ import annotations

import hashlib

import msgpack

from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts, dump_parts
from snapshots.container import limits
from snapshots.container.blobs import BlobHash, blob_hash
from snapshots.container.body import check_items
from snapshots.errors import RecordingError

DIGEST_BYTES = 16


def encode_part(part: object) -> bytes:
    """Return a part as msgpack bytes; equal parts give equal bytes."""
    packed: bytes = msgpack.packb(part, use_bin_type=True)
    return packed


def check_part_size(data: bytes) -> None:
    """Raise RecordingError for more than decode_part() would build."""
    check_items(data, items_max=limits.PART_ITEMS_MAX, maps_max=limits.PART_MAPS_MAX)


def decode_part(data: bytes) -> object:
    """Return the part that encode_part() wrote; arrays come back as tuples. Raises RecordingError."""
    check_part_size(data)
    try:
        return msgpack.unpackb(data, raw=False, use_list=False, strict_map_key=False)
    except (ValueError, TypeError) as problem:  # TypeError: an array as a map key
        raise RecordingError(f"a part of a keyframe is no msgpack: {problem!r}") from problem


class PartHashes:
    """Hashes of parts, remembered as long as a part is the same object as last time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, BlobHash]] = {}

    def of(self, parts: Parts) -> dict[str, BlobHash]:
        """Return the hash of every part."""
        known = self._known
        hashes: dict[str, BlobHash] = {}
        fresh: dict[str, tuple[object, BlobHash]] = {}
        for name, part in parts.items():
            held = known.get(name)
            if held is None or held[0] is not part:
                held = (part, blob_hash(encode_part(part)))
            fresh[name] = held
            hashes[name] = held[1]
        self._known = fresh
        return hashes


def digest_of(hashes: dict[str, BlobHash]) -> str:
    """Return the digest of a state from its parts' hashes, as hex."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in sorted(hashes):
        digest.update(name.encode() + b"\0" + hashes[name])
    return digest.hexdigest()


def state_digest(machine: Machine) -> str:
    """Return the digest of the machine's whole state, calls under way included."""
    return digest_of(PartHashes().of(dump_parts(machine)))
