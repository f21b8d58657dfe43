"""Records: whole, cut, damaged, hostile; never a wrong body that is believed."""

from __future__ import annotations

import io
import tracemalloc
import zlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.container import limits
from snapshots.container.body import pack_body
from snapshots.container.records import (
    FLAG_ZLIB,
    Record,
    Torn,
    decode_frame,
    decode_header,
    decode_record,
    encode_header,
    encode_record,
    frame_record,
    is_critical,
)
from snapshots.errors import RecordingError

BODY = {"cpu": 3, "name": "pcpu_alloc", "bytes": b"\x00\xff" * 4}
RECORD = encode_record("Events", BODY, key={"step": 7})
DEFLATED = encode_record("Events", [BODY] * 40, key={"step": 7})
HEADER = encode_header({"program": "kmemscope", "seed": 5})

leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
bodies = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)
kinds = st.from_regex(r"[A-Za-z][a-z0-9_]{0,30}", fullmatch=True)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def header_of_version(major: int, minor: int) -> bytes:
    """The same header as another version would write it, its checksum right."""
    head = bytearray(HEADER)
    head[12:14] = major.to_bytes(2, "big")
    head[15:17] = minor.to_bytes(2, "big")
    head[18:22] = zlib.crc32(head[22:], zlib.crc32(head[:18])).to_bytes(4, "big")
    return bytes(head)


def check_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RecordingError, match=reason):
        decode_record(data)


@given(kinds, bodies, st.none() | st.booleans(), st.binary(max_size=20))
def test_every_record_comes_back(
    kind: str, body: object, compress: bool | None, before: bytes
) -> None:
    data = encode_record(kind, body, key={"step": 3}, compress=compress)
    record = decode_record(before + data + b"behind", len(before))
    assert record == Record(kind, {"step": 3}, body, len(before), len(data))


@pytest.mark.parametrize("data", [RECORD, DEFLATED])
def test_a_record_cut_at_any_byte_is_torn(data: bytes) -> None:
    for length_bytes in range(len(data)):
        torn = decode_record(data[:length_bytes])
        assert isinstance(torn, Torn)
        assert length_bytes < torn.needed_bytes <= len(data)


@pytest.mark.parametrize("data", [RECORD, DEFLATED])
def test_no_flipped_bit_of_a_record_is_ever_believed(data: bytes) -> None:
    for bit in range(8 * len(data)):
        try:
            found = decode_record(flipped(data, bit))
        except RecordingError as error:
            assert str(error).startswith("byte 0: ")
        else:
            assert isinstance(found, Torn)


def test_no_flipped_bit_of_a_header_is_ever_believed() -> None:
    for bit in range(8 * len(HEADER)):
        with pytest.raises(RecordingError, match="byte "):
            decode_header(flipped(HEADER, bit))


def test_a_header_cut_at_any_byte_is_refused() -> None:
    for length_bytes in range(len(HEADER)):
        with pytest.raises(RecordingError, match="byte 0: "):
            decode_header(HEADER[:length_bytes])


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_a_recording_error(data: bytes) -> None:
    for decode in (decode_record, decode_header):
        try:
            assert isinstance(decode(data), Torn)
        except RecordingError as error:
            assert str(error).startswith("byte ")


@given(st.binary(max_size=100), st.integers(0, 255), st.binary(max_size=40))
def test_garbage_under_a_right_checksum_raises_nothing_but_a_recording_error(
    stored_body: bytes, flags: int, key_packed: bytes
) -> None:
    data = frame_record("Events", flags=flags, key_packed=key_packed, stored_body=stored_body)
    try:
        assert isinstance(decode_record(data), Record)
    except RecordingError as error:
        assert str(error).startswith("byte 0: ")


def test_any_msgpack_library_lists_header_and_records() -> None:
    file = io.BytesIO(HEADER + RECORD + DEFLATED)
    header, plain, deflated = msgpack.Unpacker(file)
    assert header[:3] == ["kmemscope", 1, 0]
    assert msgpack.unpackb(header[4]) == {"program": "kmemscope", "seed": 5}
    kind, flags, _, key, body = plain
    assert (kind, flags, msgpack.unpackb(key), msgpack.unpackb(body)) == (
        *("Events", 0, {"step": 7}, BODY),
    )
    assert deflated[1] == FLAG_ZLIB
    assert msgpack.unpackb(zlib.decompress(deflated[4])) == [BODY] * 40


def test_the_checksum_covers_every_byte_but_its_own() -> None:
    crc_at = len(b"\x95\xa6Events\xcc\x00\xce")
    crc = zlib.crc32(RECORD[:crc_at] + RECORD[crc_at + 4 :])
    assert RECORD[crc_at : crc_at + 4] == crc.to_bytes(4, "big")


def test_a_body_that_does_not_get_shorter_is_not_deflated() -> None:
    noise = bytes(zlib.crc32(bytes([i])) & 0xFF for i in range(200))
    frame = decode_frame(encode_record("Events", noise))
    assert not isinstance(frame, Torn)
    assert frame.flags == 0


def test_a_body_that_inflates_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(pack_body(b"\x00" * 100_000), 9)
    data = frame_record("Events", flags=FLAG_ZLIB, key_packed=b"", stored_body=bomb)
    assert isinstance(decode_record(data), Record)
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 1000)
    check_refused(data, "byte 0: the body of 'Events' inflates to more than 1000 bytes")


def test_inflating_a_bomb_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(bytes(20_000_000), 9)
    data = frame_record("Events", flags=FLAG_ZLIB, key_packed=b"", stored_body=bomb)
    monkeypatch.setattr(limits, "BODY_BYTES_MAX", 100_000)
    tracemalloc.start()
    try:
        check_refused(data, "inflates to more than 100000 bytes")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize("stored", [b"", b"no zlib", zlib.compress(b"\xc0")[:-1]])
def test_a_broken_zlib_stream_is_refused(stored: bytes) -> None:
    data = frame_record("Events", flags=FLAG_ZLIB, key_packed=b"", stored_body=stored)
    check_refused(data, "byte 0: the body of 'Events'")


def test_bytes_behind_a_zlib_stream_are_refused() -> None:
    stored = zlib.compress(b"\xc0") + b"more"
    data = frame_record("Events", flags=FLAG_ZLIB, key_packed=b"", stored_body=stored)
    check_refused(data, "is not one whole zlib stream")


def test_an_unknown_flag_is_refused_only_when_the_body_is_wanted() -> None:
    data = frame_record("Events", flags=0x02, key_packed=b"", stored_body=b"\xc0")
    assert not isinstance(decode_frame(data), Torn)
    check_refused(data, "flags 0x02, only 0x01 is known")


def test_a_length_beyond_the_limit_is_refused_and_not_waited_for() -> None:
    claim = (limits.BODY_BYTES_MAX + 1).to_bytes(4, "big")
    check_refused(b"\x95\xa1e\xcc\x00\xce\x00\x00\x00\x00\xc4\x00\xc6" + claim, "found 0xc6")


@pytest.mark.parametrize("kind", ["", "a" * 32, "two words", "Über", "1st", "eVENT"])
def test_a_kind_is_one_short_plain_word(kind: str) -> None:
    with pytest.raises(RecordingError, match="cannot be of kind"):
        encode_record(kind, None)


@pytest.mark.parametrize("key", [{"step": "x" * 300}, {7: 1}])
def test_a_key_is_a_small_map_of_names(key: dict[str, object]) -> None:
    with pytest.raises(RecordingError, match="key"):
        encode_record("Events", None, key=key)


def test_a_kind_with_a_capital_is_critical() -> None:
    assert is_critical("Keyframe")
    assert not is_critical("bookmark")


def test_a_header_comes_back() -> None:
    header = decode_header(HEADER + RECORD)
    assert (header.major, header.minor) == (1, 0)
    assert header.fields == {"program": "kmemscope", "seed": 5}
    assert header.length_bytes == len(HEADER)


def test_a_newer_minor_version_is_read() -> None:
    header = decode_header(header_of_version(1, 9))
    assert (header.minor, header.fields["seed"]) == (9, 5)


def test_a_newer_major_version_is_refused_by_its_number() -> None:
    with pytest.raises(RecordingError, match=r"byte 12: format 2 .* reads format 1"):
        decode_header(header_of_version(2, 0))


def test_a_newer_major_version_is_refused_whatever_follows_its_number() -> None:
    with pytest.raises(RecordingError, match="format 7 of a recording"):
        decode_header(HEADER[:12] + b"\x00\x07" + b"another layout")


def test_another_file_is_no_recording() -> None:
    with pytest.raises(RecordingError, match="byte 0: this is not a kmemscope recording"):
        decode_header(b"\x7fELF" + bytes(60))


def test_a_header_has_a_limit_of_its_own() -> None:
    with pytest.raises(RecordingError, match="at most 65536 are allowed"):
        encode_header({"notes": "x" * limits.HEADER_BYTES_MAX})
