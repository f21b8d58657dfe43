"""Reading: lazily, verified, and only what is understood."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapshots.container.record_index import RecordTable, Trailer, encode_trailer
from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.container.records import (
    Frame,
    decode_frame,
    encode_header,
    encode_key,
    encode_record,
    frame_record,
)
from snapshots.errors import RecordingError


def nr_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.kms"
    with RecordingWriter.create(path, {"program": "kmemscope", "seed": 5}) as writer:
        for step in range(10):
            writer.append("Events", {"step": step}, {"step": step})
            writer.append("note", f"at {step}")
        writer.append("Keyframe", [1, 2, 3], {"step": 9})
    return path


def test_the_header_is_what_the_writer_said(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        assert reader.header.fields == {"program": "kmemscope", "seed": 5}


@pytest.mark.parametrize("use_index", [True, False])
def test_records_come_in_order_and_by_kind(path: Path, use_index: bool) -> None:
    with RecordingReader.open(path, use_index=use_index) as reader:
        assert reader.is_indexed == use_index
        events = list(reader.records("Events"))
        assert [entry.key["step"] for entry in events] == list(range(10))
        assert [reader.read(entry) for entry in events] == [{"step": step} for step in range(10)]
        assert [e.kind for e in reader.records()][-3:] == ["Keyframe", "index", "trailer"]
        assert len(reader) == 23
        assert list(reader.records("absent")) == []


def test_an_index_and_a_scan_tell_the_same(path: Path) -> None:
    with (
        RecordingReader.open(path) as indexed,
        RecordingReader.open(path, use_index=False) as scanned,
    ):
        assert list(indexed.records()) == list(scanned.records())


def test_opening_by_index_reads_only_the_two_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordingWriter.reopen(path) as writer:
        writer.append("Keyframe", b"x" * 1_000_000, compress=False)
    nr_read_bytes = 0
    real_pread = os.pread

    def counted(descriptor: int, length_bytes: int, offset_bytes: int) -> bytes:
        nonlocal nr_read_bytes
        data = real_pread(descriptor, length_bytes, offset_bytes)
        nr_read_bytes += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    with RecordingReader.open(path) as reader:
        assert reader.is_indexed
        assert nr_read_bytes < 70_000
        next(reader.records("Keyframe"))
        assert nr_read_bytes < 70_000


def test_a_body_is_built_afresh_every_time(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        entry = next(reader.records("Keyframe"))
        body = reader.read(entry)
        assert isinstance(body, list)
        body.append("scribble")
        assert reader.read(entry) == [1, 2, 3]


def test_a_record_damaged_under_a_good_index_is_told_when_it_is_read(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        entry = next(reader.records("Keyframe"))
    damaged = bytearray(path.read_bytes())
    damaged[entry.offset_bytes + entry.length_bytes - 1] ^= 1
    path.write_bytes(damaged)
    with RecordingReader.open(path) as reader:
        assert reader.is_indexed
        assert reader.read(next(reader.records("note"))) == "at 0"
        with pytest.raises(
            RecordingError, match=rf"run\.kms: byte {entry.offset_bytes}: .*damaged"
        ):
            reader.read(entry)


@pytest.mark.parametrize(("kind", "key"), [("Keyframe", None), ("Events", {"step": 4})])
def test_an_index_that_lies_about_a_record_is_found_out(
    path: Path, kind: str, key: dict[str, object] | None
) -> None:
    header, record = encode_header({}), encode_record("Events", 1)
    table = RecordTable(len(header))
    table.add(kind, length_bytes=len(record), key_packed=encode_key(key))
    index = encode_record("index", table.to_body())
    frame = decode_frame(index)
    assert isinstance(frame, Frame)
    trailer = encode_trailer(Trailer(table.end_bytes, len(index), frame.crc32))
    path.write_bytes(header + record + index + trailer)
    with RecordingReader.open(path) as reader:
        (entry,) = reader.records(kind)
        with pytest.raises(RecordingError, match=rf"'{kind}' .* was promised, here is 'Events'"):
            reader.read(entry)


def test_an_entry_of_another_file_is_not_read(path: Path, tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "other.kms", {}) as writer:
        foreign = writer.append("Events", {"step": 0}, {"step": 0})
    with RecordingReader.open(path) as reader, pytest.raises(RecordingError, match="byte"):
        reader.read(foreign)


def test_a_critical_kind_that_is_not_understood_is_refused(path: Path) -> None:
    with pytest.raises(RecordingError, match=r"byte \d+: records of kind 'Keyframe' must be und"):
        RecordingReader.open(path, understood={"Events"})


def test_a_kind_that_is_not_critical_is_skipped_and_kept(path: Path) -> None:
    with RecordingReader.open(path, understood={"Events", "Keyframe"}) as reader:
        assert "note" in [entry.kind for entry in reader.records()]


def test_blobs_need_not_be_understood(path: Path) -> None:
    with RecordingWriter.reopen(path) as writer:
        writer.put_blob(b"page")
    RecordingReader.open(path, understood={"Events", "Keyframe"}).close()


def test_a_reader_sees_the_file_of_the_moment_when_it_opened_it(path: Path) -> None:
    with RecordingWriter.reopen(path) as writer, RecordingReader.open(path) as reader:
        writer.append("note", "later")
        writer.flush()
        assert len(reader) == 23
        with RecordingReader.open(path) as later:
            assert len(later) == 24


def test_a_file_cut_by_somebody_else_is_an_error_and_no_crash(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        os.truncate(path, 60)
        with pytest.raises(RecordingError, match="something cut the file"):
            reader.read(next(reader.records("Keyframe")))


def test_a_closed_reader_reads_nothing(path: Path) -> None:
    reader = RecordingReader.open(path)
    entry = next(reader.records())
    reader.close()
    reader.close()
    with pytest.raises(RecordingError, match="closed"):
        reader.read(entry)


@pytest.mark.parametrize("name", ["missing.kms", "."])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match=r"No such file|regular file"):
        RecordingReader.open(tmp_path / name)


def test_a_failed_open_leaks_no_descriptor(path: Path) -> None:
    path.write_bytes(b"no recording")
    nr_before = nr_open_files()
    for opener in (RecordingReader.open, RecordingWriter.reopen):
        with pytest.raises(RecordingError, match="not a kmemscope recording"):
            opener(path)
    assert nr_open_files() == nr_before


def test_a_key_that_is_no_map_is_told_with_its_place(path: Path) -> None:
    header = encode_header({})
    forged = frame_record("Events", flags=0, key_packed=b"\xc0", stored_body=b"\xc0")
    path.write_bytes(header + forged)
    with (
        RecordingReader.open(path) as reader,
        pytest.raises(RecordingError, match=rf"run\.kms: byte {len(header)}: key: a map"),
    ):
        list(reader.records())


def test_a_header_alone_is_a_recording_without_records(path: Path) -> None:
    path.write_bytes(encode_header({}))
    with RecordingReader.open(path) as reader:
        assert (len(reader), reader.torn, reader.is_indexed) == (0, None, False)
