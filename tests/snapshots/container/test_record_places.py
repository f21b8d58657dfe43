"""Finding records: by index, by scan, and what a scan makes of damage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.container import limits
from snapshots.container.record_index import TRAILER_BYTES, RecordTable, Trailer, encode_trailer
from snapshots.container.record_places import (
    TornTail,
    indexed_records,
    read_at,
    read_header,
    scan_records,
)
from snapshots.container.records import Frame, decode_frame, encode_header, encode_record
from snapshots.errors import RecordingError

RECORDS = [encode_record("Events", [step] * step, key={"step": step}) for step in range(6)]
STREAM = b"".join(RECORDS)
Opener = Callable[[bytes], int]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    descriptors: list[int] = []

    def open_bytes(data: bytes) -> int:
        path = tmp_path / f"{len(descriptors)}.kms"
        path.write_bytes(data)
        descriptors.append(os.open(path, os.O_RDONLY))
        return descriptors[-1]

    yield open_bytes
    for descriptor in descriptors:
        os.close(descriptor)


def scanned(opened: Opener, data: bytes) -> tuple[RecordTable, TornTail | None]:
    return scan_records(opened(data), start_bytes=0, end_bytes=len(data))


def indexed(opened: Opener, data: bytes) -> RecordTable | None:
    return indexed_records(opened(data), start_bytes=0, end_bytes=len(data))


def with_index(
    stream: bytes,
    table: RecordTable,
    *,
    index_kind: str = "index",
    wrong: dict[str, int] | None = None,
) -> bytes:
    index = encode_record(index_kind, table.to_body())
    frame = decode_frame(index)
    assert isinstance(frame, Frame)
    right = {
        "index_offset_bytes": len(stream),
        "index_length_bytes": len(index),
        "index_crc32": frame.crc32,
    }
    return stream + index + encode_trailer(Trailer(**right | (wrong or {})))


def test_a_scan_finds_every_record_whatever_the_window(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = scanned(opened, STREAM)
    assert [entry.key for entry in whole.entries()] == [{"step": step} for step in range(6)]
    for window_bytes in (1, 7, 50, len(STREAM)):
        monkeypatch.setattr(limits, "SCAN_WINDOW_BYTES", window_bytes)
        table, torn = scanned(opened, STREAM)
        assert torn is None
        assert list(table.entries()) == list(whole.entries())


def test_an_index_gives_the_table_of_a_scan(opened: Opener) -> None:
    table, _ = scanned(opened, STREAM)
    data = with_index(STREAM, table)
    by_index = indexed(opened, data)
    by_scan, _ = scanned(opened, data)
    assert by_index is not None
    assert list(by_index.entries()) == list(by_scan.entries())


@pytest.mark.parametrize(
    "wrong",
    [
        {"index_offset_bytes": 0},
        {"index_offset_bytes": 2**63},
        {"index_offset_bytes": len(STREAM) - len(RECORDS[-1])},
        {"index_length_bytes": 5},
        {"index_crc32": 0},
    ],
)
def test_a_trailer_that_leads_astray_is_not_followed(opened: Opener, wrong: dict[str, int]) -> None:
    table, _ = scanned(opened, STREAM)
    assert indexed(opened, with_index(STREAM, table)) is not None
    assert indexed(opened, with_index(STREAM, table, wrong=wrong)) is None


def test_a_trailer_leads_only_to_an_index(opened: Opener) -> None:
    table, _ = scanned(opened, STREAM)
    assert indexed(opened, with_index(STREAM, table, index_kind="note")) is None


def test_an_index_of_other_records_is_not_used(opened: Opener) -> None:
    table, _ = scanned(opened, STREAM)
    assert indexed(opened, with_index(STREAM + RECORDS[0], table)) is None


def test_a_trailer_may_not_point_at_itself_or_before_the_records(opened: Opener) -> None:
    trailer = encode_trailer(Trailer(0, TRAILER_BYTES, 0))
    assert indexed(opened, trailer) is None
    assert indexed_records(opened(trailer), start_bytes=1, end_bytes=TRAILER_BYTES) is None


def test_a_torn_tail_is_told_with_its_place(opened: Opener) -> None:
    table, torn = scanned(opened, STREAM[:-1])
    last_bytes = len(RECORDS[-1])
    assert len(table) == 5
    assert torn is not None
    assert (torn.offset_bytes, torn.lost_bytes) == (len(STREAM) - last_bytes, last_bytes - 1)
    assert torn.next_complete_offset_bytes is None
    assert f"byte {torn.offset_bytes}: the record ends after" in torn.reason


@pytest.mark.parametrize("window_bytes", [1, 10, limits.SCAN_WINDOW_BYTES])
def test_a_complete_record_behind_damage_is_found(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, window_bytes: int
) -> None:
    monkeypatch.setattr(limits, "SCAN_WINDOW_BYTES", window_bytes)
    monkeypatch.setattr("snapshots.container.record_places._HEAD_BYTES", 64)
    damaged = bytearray(STREAM)
    damaged[len(RECORDS[0]) + len(RECORDS[1]) - 1] ^= 1
    table, torn = scanned(opened, bytes(damaged))
    assert len(table) == 1
    assert torn is not None
    assert torn.next_complete_offset_bytes == len(RECORDS[0]) + len(RECORDS[1])


def test_zeros_that_a_power_cut_left_are_a_torn_tail(opened: Opener) -> None:
    table, torn = scanned(opened, STREAM + bytes(5000))
    assert len(table) == 6
    assert torn == TornTail(
        len(STREAM), 5000, f"byte {len(STREAM)}: no record begins with 00 00", None
    )


def test_false_heads_do_not_keep_a_scan_busy_for_ever(opened: Opener) -> None:
    claim = RECORDS[0][:-1] + b"\x00"
    tail = claim * (limits.RESYNC_CANDIDATES_MAX + 1) + RECORDS[0]
    _, torn = scanned(opened, claim + tail)
    assert torn is not None
    assert torn.next_complete_offset_bytes is None


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_no_garbage_breaks_a_scan(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.kms"
    path.write_bytes(RECORDS[1] + data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        end_bytes = len(RECORDS[1]) + len(data)
        table, torn = scan_records(descriptor, start_bytes=0, end_bytes=end_bytes)
        assert len(table) == 1
        assert (torn is None) == (not data)
    finally:
        os.close(descriptor)


def test_a_file_that_shrinks_meanwhile_is_an_error_with_a_place(opened: Opener) -> None:
    with pytest.raises(RecordingError, match="byte 3: 10 bytes were here, 8 of them are gone"):
        read_at(opened(b"12345"), 3, 10)


def test_a_header_is_read_from_a_file_shorter_than_the_longest_header(opened: Opener) -> None:
    header = encode_header({"seed": 1})
    assert read_header(opened(header), len(header)).fields == {"seed": 1}
