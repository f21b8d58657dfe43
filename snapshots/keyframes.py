"""Keyframes as they are kept, in memory and in files alike: each tells what differs from the one before.

    keyframe 0     full: every part's hash        blobs: whole parts, by hash
    keyframe 1     changed hashes, names gone     patches: parts by hash, from a part of another hash
    …
    keyframe 8     full again

A part is patched at most PATCHES_MAX times before it is written whole again, so that to load one keyframe
never means to read many.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from kernel_sim.machine_state import Parts
from snapshots.container.blobs import BlobHash, blob_hash
from snapshots.errors import RecordingError
from snapshots.part_patch import apply_patch, patch_of
from snapshots.state_codec import check_part_size, decode_part, encode_part

FULL_EVERY = 8
PATCHES_MAX = 7
PATCHED_BYTES_MIN = 256
KEPT_BYTES_MAX = (
    8 << 20
)  # of decoded parts, as bytes of their msgpack; in memory they take some five times that
CHECKED_MAX = 1 << 16
DEFLATE_LEVEL = 1


class NewBlob(NamedTuple):
    """A part that was not kept yet: whole, or as the msgpack of a patch on the part of another hash."""

    name: BlobHash
    base: BlobHash | None
    data: bytes


@dataclass(frozen=True, slots=True)
class EncodedKeyframe:
    """Hashes of the parts that differ from the keyframe before, or of all; and what blobs that takes."""

    is_full: bool
    changed: dict[str, BlobHash]
    gone: tuple[str, ...]
    blobs: tuple[NewBlob, ...]


@dataclass(slots=True)
class _Held:
    part: object
    name: BlobHash
    nr_patches: int = 0


@dataclass(slots=True)
class KeyframeEncoder:
    """Makes encoded keyframes of one run, in order; knows what it has handed out.

    Runs that go into one file share what is known: a part of the same hash is written once, and rests on
    as many patches for all.
    """

    held: dict[str, _Held] = field(default_factory=dict)
    known: dict[BlobHash, int] = field(default_factory=dict)  # on how many patches each part rests
    nr_keyframes: int = 0

    def encode(self, parts: Parts) -> EncodedKeyframe:
        """Return the next keyframe. Raises RecordingError for a part that could not be read back."""
        is_full = self.nr_keyframes % FULL_EVERY == 0
        changed: dict[str, BlobHash] = {}
        blobs: list[NewBlob] = []
        fresh: dict[str, _Held] = {}
        for name in sorted(parts):  # the order in which they were dumped is no part of a state
            part, before = parts[name], self.held.get(name)
            if before is None or before.part is not part:
                fresh[name] = self._encode_part(part, before, blobs)
            else:
                fresh[name] = before
            if is_full or before is None or before.name != fresh[name].name:
                changed[name] = fresh[name].name
        gone = () if is_full else tuple(name for name in self.held if name not in fresh)
        self.held = fresh
        self.nr_keyframes += 1
        return EncodedKeyframe(is_full, changed, gone, tuple(blobs))

    def _encode_part(self, part: object, before: _Held | None, blobs: list[NewBlob]) -> _Held:
        packed = encode_part(part)
        name = blob_hash(packed)
        if name in self.known:
            return _Held(part, name, self.known[name])
        check_part_size(packed)
        self.known[name] = 0
        if before is None or before.nr_patches >= PATCHES_MAX or len(packed) < PATCHED_BYTES_MIN:
            blobs.append(NewBlob(name, None, packed))
            return _Held(part, name)
        patch = patch_of(before.part, part)
        if encode_part(apply_patch(before.part, patch)) != packed:
            blobs.append(NewBlob(name, None, packed))
            return _Held(part, name)
        blobs.append(NewBlob(name, before.name, encode_part(patch)))
        self.known[name] = before.nr_patches + 1
        return _Held(part, name, before.nr_patches + 1)


class BlobStore(Protocol):
    """Where blobs and patches are found."""

    def find_blob(self, name: BlobHash) -> bytes | None:
        """Return a whole part's bytes, None if it is not kept whole. Raises RecordingError."""

    def find_patch(self, name: BlobHash) -> tuple[BlobHash, bytes] | None:
        """Return the hash of another part and the patch on it, None if there is none."""


class PartLoader:
    """Turns hashes into parts: through patches, with those used last kept; each is checked once.

    check(name, part) raises RecordingError for a part that no machine has.
    """

    def __init__(
        self, store: BlobStore, check: Callable[[str, object], None] | None = None
    ) -> None:
        self.store = store
        self.check = check
        self._kept: OrderedDict[BlobHash, tuple[object, int]] = OrderedDict()
        self._kept_bytes = 0
        self._checked: dict[tuple[str, BlobHash], None] = {}

    def parts(self, hashes: Mapping[str, BlobHash]) -> Parts:
        """Return the parts of these hashes; equal ones are the same object as long as they are kept."""
        return {name: self._checked_part(name, wanted) for name, wanted in hashes.items()}

    def _checked_part(self, name: str, wanted: BlobHash) -> object:
        part = self.part(wanted)
        if self.check is not None and (name, wanted) not in self._checked:
            self.check(name, part)
            if len(self._checked) >= CHECKED_MAX:
                self._checked.clear()
            self._checked[name, wanted] = None
        return part

    def part(self, wanted: BlobHash) -> object:
        """Return one part. Raises RecordingError if it is missing or is not what its hash says."""
        kept = self._kept.get(wanted)
        if kept is not None:
            self._kept.move_to_end(wanted)
            return kept[0]
        patched: list[BlobHash] = []  # their patches are read one at a time: each may be large
        name = wanted
        while name not in self._kept:
            data = self.store.find_blob(name)
            if data is not None:
                self._keep(name, decode_part(data), len(data))
                break
            patch = self.store.find_patch(name)
            if patch is None or len(patched) >= PATCHES_MAX:
                raise RecordingError(f"no part {name.hex()} is in this recording")
            patched.append(name)
            name = patch[0]
        part = self._kept[name][0]
        for name in reversed(patched):
            found = self.store.find_patch(name)
            if found is not None:
                part = apply_patch(part, decode_part(found[1]))
        if patched:
            packed = encode_part(part)
            if blob_hash(packed) != wanted:
                raise RecordingError(f"part {wanted.hex()} is not what its patches make of it")
            self._keep(wanted, part, len(packed))
        return part

    def _keep(self, name: BlobHash, part: object, nr_bytes: int) -> None:
        self._kept[name] = (part, nr_bytes)
        self._kept_bytes += nr_bytes
        while self._kept_bytes > KEPT_BYTES_MAX and len(self._kept) > 1:
            _, (_, dropped_bytes) = self._kept.popitem(last=False)
            self._kept_bytes -= dropped_bytes


class HashChain:
    """The hashes of every keyframe of a run, each told by what differs from the one before."""

    def __init__(
        self, keyframe: Callable[[int], tuple[bool, Mapping[str, BlobHash], tuple[str, ...]]]
    ) -> None:
        """Keyframe returns is_full, changed and gone by number."""
        self._keyframe = keyframe
        self._last: tuple[int, dict[str, BlobHash]] = (-1, {})

    def hashes(self, number: int) -> dict[str, BlobHash]:
        """Return the hash of every part at a keyframe."""
        chain: list[tuple[Mapping[str, BlobHash], tuple[str, ...]]] = []
        at = number
        found: dict[str, BlobHash] = {}
        while at >= 0:
            if at == self._last[0]:
                found = dict(self._last[1])
                break
            is_full, changed, gone = self._keyframe(at)
            chain.append((changed, gone))
            if is_full:
                break
            if len(chain) > FULL_EVERY:
                raise RecordingError(f"keyframe {number} rests on more than {FULL_EVERY} others")
            at -= 1
        else:
            raise RecordingError(f"keyframe {number} rests on one that is not there")
        for changed, gone in reversed(chain):
            for name in gone:
                found.pop(name, None)
            found |= changed
        self._last = (number, found)
        return found


class MemoryKeyframes:
    """Encoded keyframes of a run that is not, or not yet, in a file, deflated."""

    def __init__(self) -> None:
        self._encoder = KeyframeEncoder()
        self._blobs: dict[BlobHash, bytes] = {}
        self._patches: dict[BlobHash, tuple[BlobHash, bytes]] = {}
        self._rows: list[tuple[bool, dict[str, BlobHash], tuple[str, ...]]] = []
        self._chain = HashChain(self._rows.__getitem__)
        self._loader = PartLoader(self)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, parts: Parts) -> EncodedKeyframe:
        """Keep the next keyframe; returns it, for whoever writes it to a file."""
        encoded = self._encoder.encode(parts)
        for name, base, data in encoded.blobs:
            packed = zlib.compress(data, DEFLATE_LEVEL)
            if base is None:
                self._blobs[name] = packed
            else:
                self._patches[name] = (base, packed)
        self._rows.append((encoded.is_full, encoded.changed, encoded.gone))
        return encoded

    def hashes(self, number: int) -> dict[str, BlobHash]:
        """Return the hash of every part at a keyframe."""
        return self._chain.hashes(number)

    def parts(self, number: int) -> Parts:
        """Return the machine's parts at a keyframe."""
        return self._loader.parts(self.hashes(number))

    def find_blob(self, name: BlobHash) -> bytes | None:
        """Return a whole part's bytes, None if it is not kept whole."""
        packed = self._blobs.get(name)
        return None if packed is None else zlib.decompress(packed)

    def find_patch(self, name: BlobHash) -> tuple[BlobHash, bytes] | None:
        """Return the hash of another part and the patch on it, None if there is none."""
        patch = self._patches.get(name)
        return None if patch is None else (patch[0], zlib.decompress(patch[1]))
