"""Parts as bytes, and digests made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.machine_state import dump_parts
from snapshots.container.blobs import blob_hash
from snapshots.errors import RecordingError
from snapshots.state_codec import PartHashes, decode_part, digest_of, encode_part, state_digest
from snapshots.timeline import NO_LIMIT
from tests.snapshots.conftest import BUSY, recorded, small_config

SCALARS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1), st.booleans(), st.text(), st.binary(), st.none()
)
PARTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=20,
)


@given(PARTS)
def test_a_part_comes_back_with_its_arrays_as_tuples(part: object) -> None:
    assert decode_part(encode_part(part)) == part


@given(st.binary(max_size=40))
def test_bytes_that_are_no_part_raise_an_error_of_ours(data: bytes) -> None:
    try:
        decode_part(data)
    except RecordingError as error:
        assert "no msgpack" in str(error)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\x81\x80\x02", b"\x01\x01"])
def test_what_is_cut_or_overlong_or_no_map_is_refused(data: bytes) -> None:
    with pytest.raises(RecordingError):
        decode_part(data)


def test_a_digest_changes_with_every_name_and_every_byte() -> None:
    hashes = {"log": blob_hash(b"1"), "pages": blob_hash(b"2")}
    others = [
        hashes | {"log": blob_hash(b"3")},
        hashes | {"tables": blob_hash(b"2")},
        {"log": hashes["log"]},
        {"log": hashes["pages"], "pages": hashes["log"]},
    ]
    digests = {digest_of(row) for row in (hashes, *others)}
    assert len(digests) == 5


def test_a_digest_does_not_depend_on_the_order_of_parts() -> None:
    hashes = {"b": blob_hash(b"1"), "a": blob_hash(b"2")}
    assert digest_of(hashes) == digest_of(dict(reversed(hashes.items())))


def test_two_machines_that_did_the_same_have_one_digest() -> None:
    first, second = (recorded(small_config(cpus=3), BUSY).machine for _ in range(2))
    assert state_digest(first) == state_digest(second)


def test_every_step_of_a_call_has_a_digest_of_its_own() -> None:
    timeline = recorded(small_config(), BUSY[:4])
    digests = []
    for step in range(timeline.end_step + 1):
        timeline.seek(step)
        digests.append(state_digest(timeline.machine))
    assert len(set(digests)) == len(digests)


def test_a_written_byte_of_memory_changes_the_digest() -> None:
    machine = boot(small_config())
    before = state_digest(machine)
    machine.memory.write(0x5000, b"\1")
    assert state_digest(machine) != before


def test_remembered_hashes_are_those_of_a_fresh_look() -> None:
    timeline = recorded(small_config(cpus=3), BUSY)
    remembering = PartHashes()
    for step in (0, 30, 31, 90, 60, timeline.end_step):
        timeline.seek(step)
        parts = dump_parts(timeline.machine)
        assert remembering.of(parts) == PartHashes().of(parts)
    timeline.seek(NO_LIMIT)
    assert digest_of(remembering.of(dump_parts(timeline.machine))) == state_digest(timeline.machine)
