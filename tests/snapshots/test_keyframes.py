"""Keyframes: any sequence comes back in any order, chains stay short, and nobody's chain has no end."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.machine_state import Parts, dump_parts
from snapshots import keyframes as keyframes_module
from snapshots.container.blobs import BlobHash, blob_hash
from snapshots.errors import RecordingError
from snapshots.keyframes import (
    FULL_EVERY,
    PATCHES_MAX,
    HashChain,
    KeyframeEncoder,
    MemoryKeyframes,
    PartLoader,
)
from snapshots.part_patch import patch_of
from snapshots.state_codec import digest_of, encode_part, state_digest
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config

NAMES = ("clock", "percpu", "chunk.0", "chunk.1", "frame.9")
CHANGES = st.lists(
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 6), max_size=4), min_size=1, max_size=40
)


class Blobs:
    """Blobs and patches by hash, as a file has them; counts what is asked for."""

    def __init__(self) -> None:
        self.whole: dict[bytes, bytes] = {}
        self.patches: dict[bytes, tuple[BlobHash, bytes]] = {}
        self.nr_asked = 0

    def find_blob(self, name: BlobHash) -> bytes | None:
        self.nr_asked += 1
        return self.whole.get(name)

    def find_patch(self, name: BlobHash) -> tuple[BlobHash, bytes] | None:
        self.nr_asked += 1
        return self.patches.get(name)

    def nr_patches(self, name: BlobHash) -> int:
        found = 0
        while name not in self.whole:
            name = self.patches[name][0]
            found += 1
        return found


def part_of(name: str, value: int) -> object:
    """A part that takes a patch: a value is a state, met again later."""
    if name.startswith("frame"):
        return bytes([value]) * 4096
    return tuple((key, value if key % 5 == 0 else 0, "x" * 9) for key in range(40))


def sequence(changes: list[dict[str, int]]) -> list[Parts]:
    """Keyframes, one for each change: unchanged parts are the same objects; 6 takes a part away."""
    parts: Parts = {"clock": part_of("clock", 0)}
    found: list[Parts] = []
    for change in changes:
        parts = dict(parts)
        for name, value in change.items():
            if value == 6:
                parts.pop(name, None)
            else:
                parts[name] = part_of(name, value)
        found.append(parts)
    return found


@given(CHANGES, st.randoms(use_true_random=False))
def test_any_sequence_comes_back_in_any_order(
    changes: list[dict[str, int]], chance: random.Random
) -> None:
    wanted = sequence(changes)
    kept = MemoryKeyframes()
    for parts in wanted:
        kept.add(parts)
    assert len(kept) == len(wanted)
    order = [chance.randrange(len(wanted)) for _ in range(2 * len(wanted))]
    for number in order:
        again = kept.parts(number)
        assert again.keys() == wanted[number].keys()
        assert {name: encode_part(part) for name, part in again.items()} == {
            name: encode_part(part) for name, part in wanted[number].items()
        }
    assert kept.parts(order[0]).keys() == kept.hashes(order[0]).keys()


@given(st.lists(CHANGES, min_size=1, max_size=4))
def test_chains_of_all_branches_of_a_file_stay_short(runs: list[list[dict[str, int]]]) -> None:
    blobs = Blobs()
    known: dict[BlobHash, int] = {}
    hashes: list[tuple[Parts, dict[str, BlobHash]]] = []
    for changes in runs:
        encoder = KeyframeEncoder(known=known)
        at: dict[str, BlobHash] = {}
        since_full = 0
        for parts in sequence(changes):
            encoded = encoder.encode(parts)
            since_full = 0 if encoded.is_full else since_full + 1
            assert since_full < FULL_EVERY
            for name, base, data in encoded.blobs:
                assert name not in blobs.whole and name not in blobs.patches, "written twice"
                if base is None:
                    blobs.whole[name] = data
                else:
                    blobs.patches[name] = (base, data)
            at = {} if encoded.is_full else at
            at = {
                key: blob for key, blob in at.items() if key not in encoded.gone
            } | encoded.changed
            hashes.append((parts, at))
    assert all(blobs.nr_patches(name) <= PATCHES_MAX for name in known)
    for parts, named in hashes:
        loaded = PartLoader(blobs).parts(named)
        assert encode_part(sorted(loaded.items())) == encode_part(sorted(parts.items()))


def test_a_part_that_changes_a_little_each_time_is_patched_and_now_and_then_whole() -> None:
    encoder = KeyframeEncoder()
    kinds = []
    for value in range(40):
        rows = tuple((key, value if key == 3 else 0, "x" * 9) for key in range(40))
        (blob,) = encoder.encode({"percpu": rows}).blobs
        kinds.append(blob.base is None)
        assert blob.base is None or len(blob.data) < 30
    assert [at for at, whole in enumerate(kinds) if whole] == [*range(0, 40, PATCHES_MAX + 1)]


def test_an_unchanged_part_is_one_object_and_one_blob() -> None:
    kept = MemoryKeyframes()
    same = part_of("percpu", 1)
    assert len(kept.add({"percpu": same, "clock": (1,)}).blobs) == 2
    encoded = kept.add({"percpu": same, "clock": (2,)})
    assert list(encoded.changed) == ["clock"] and len(encoded.blobs) == 1
    assert kept.parts(0)["percpu"] is kept.parts(1)["percpu"]


def test_what_looks_alike_and_is_of_another_type_is_written_whole() -> None:
    kept = MemoryKeyframes()
    fill = "x" * 300
    for part in ((1, fill), (True, fill), (1.0, fill), (-0.0, fill), (0.0, fill)):
        kept.add({"percpu": part})
    for number, part in enumerate(
        [(1, fill), (True, fill), (1.0, fill), (-0.0, fill), (0.0, fill)]
    ):
        assert encode_part(kept.parts(number)["percpu"]) == encode_part(part)


def test_a_real_run_comes_back_part_by_part() -> None:
    with short_segments(2):
        timeline = recorded(small_config(cpus=4), BUSY * 2)
        kept = MemoryKeyframes()
        digests = []
        for number in range(len(timeline.heads)):
            timeline.seek(timeline.heads[number].first_step)
            digests.append(state_digest(timeline.machine))
            kept.add(dump_parts(timeline.machine))
    assert len(kept) > 10
    for number in reversed(range(len(kept))):
        assert digest_of(kept.hashes(number)) == digests[number]
        parts = kept.parts(number)
        assert {name: blob_hash(encode_part(part)) for name, part in parts.items()} == kept.hashes(
            number
        )


def test_what_is_kept_of_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyframes_module, "KEPT_BYTES_MAX", 10_000)
    blobs = Blobs()
    names = []
    for value in range(20):
        data = encode_part(bytes([value]) * 4096)
        names.append(blob_hash(data))
        blobs.whole[names[-1]] = data
    loader = PartLoader(blobs)
    for name in names * 2:
        loader.part(name)
    assert blobs.nr_asked == 40  # two of them fit, and none of them was still there
    loader.part(names[-1])
    assert blobs.nr_asked == 40


# -- hostile --------------------------------------------------------------------------------------------

ONE, TWO, THREE = (BlobHash(bytes([n]) * 16) for n in (1, 2, 3))


def test_patches_without_a_whole_part_are_refused() -> None:
    blobs = Blobs()
    patch = encode_part((0, 7))
    blobs.patches = {ONE: (ONE, patch), TWO: (THREE, patch), THREE: (TWO, patch)}
    for name in (ONE, TWO, THREE, BlobHash(b"x" * 16)):
        blobs.nr_asked = 0
        with pytest.raises(RecordingError, match="no part"):
            PartLoader(blobs).part(name)
        assert blobs.nr_asked <= 2 * PATCHES_MAX + 4


def test_a_chain_of_more_patches_than_are_written_is_refused() -> None:
    blobs = Blobs()
    data = encode_part(0)
    name = blob_hash(data)
    blobs.whole[name] = data
    for value in range(1, PATCHES_MAX + 3):
        data = encode_part(value)
        blobs.patches[blob_hash(data)] = (name, encode_part(patch_of(value - 1, value)))
        name = blob_hash(data)
        if value <= PATCHES_MAX:
            assert PartLoader(blobs).part(name) == value
    with pytest.raises(RecordingError, match="no part"):
        PartLoader(blobs).part(name)


def test_a_part_that_is_not_what_its_hash_says_is_refused() -> None:
    blobs = Blobs()
    data = encode_part((1, 2))
    name = blob_hash(data)
    blobs.whole[name] = data
    blobs.patches[ONE] = (name, encode_part(patch_of((1, 2), (1, 3))))
    for _ in range(2):
        with pytest.raises(RecordingError, match="not what its patches make"):
            PartLoader(blobs).part(ONE)
    far = encode_part((1, (9,), ((0, 1),)))
    for hostile in (b"", b"\xc1", encode_part(7), far, encode_part((0, 1))[:-1]):
        blobs.patches[ONE] = (name, hostile)
        with pytest.raises(RecordingError):
            PartLoader(blobs).part(ONE)


def test_every_part_is_checked_once_under_each_name() -> None:
    checked: list[tuple[str, object]] = []
    blobs = Blobs()
    data = encode_part((1,))
    blobs.whole[blob_hash(data)] = data
    loader = PartLoader(blobs, lambda name, part: checked.append((name, part)))
    for _ in range(3):
        loader.parts({"a": blob_hash(data), "b": blob_hash(data)})
    assert checked == [("a", (1,)), ("b", (1,))]


def test_a_part_that_is_refused_is_refused_every_time() -> None:
    def refuse(name: str, part: object) -> None:
        raise RecordingError(f"{name} is {part}")

    blobs = Blobs()
    data = encode_part(5)
    blobs.whole[blob_hash(data)] = data
    loader = PartLoader(blobs, refuse)
    for _ in range(3):
        with pytest.raises(RecordingError, match="clock is 5"):
            loader.parts({"clock": blob_hash(data)})


def test_hashes_are_told_from_the_full_keyframe_before() -> None:
    rows = [
        (True, {"a": ONE, "b": ONE}, ()),
        (False, {"a": TWO}, ("b",)),
        (False, {"c": ONE}, ("none",)),
        (True, {"d": ONE}, ()),
    ]
    wanted = [{"a": ONE, "b": ONE}, {"a": TWO}, {"a": TWO, "c": ONE}, {"d": ONE}]
    chain = HashChain(rows.__getitem__)
    for number in (3, 2, 0, 1, 2, 3, 1, 1, 0):
        assert chain.hashes(number) == wanted[number]


def test_keyframes_that_rest_on_nothing_are_refused() -> None:
    chain = HashChain(lambda number: (False, {}, ()))
    with pytest.raises(RecordingError, match="rests on more than"):
        chain.hashes(1000)
    with pytest.raises(RecordingError, match="not there"):
        chain.hashes(3)
    with pytest.raises(RecordingError, match="not there"):
        chain.hashes(-1)


def test_memory_keyframes_are_deflated() -> None:
    kept = MemoryKeyframes()
    kept.add({"frame.1": bytes(4096)})
    (name,) = kept.hashes(0).values()
    assert kept.find_blob(name) == encode_part(bytes(4096)) and kept.find_patch(name) is None
    assert len(zlib.compress(encode_part(bytes(4096)))) < 100
