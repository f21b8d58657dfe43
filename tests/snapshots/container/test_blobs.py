"""Blobs: known by their bytes, stored once, verified when read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.container.blobs import (
    BLOB_HASH_BYTES,
    BLOB_KIND,
    BlobHash,
    BlobSink,
    BlobSource,
    MemoryBlobs,
    blob_hash,
    blob_key,
    check_blob,
)
from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.container.records import encode_header, encode_record
from snapshots.errors import RecordingError


def test_the_name_of_no_bytes_is_fixed_for_ever() -> None:
    assert blob_hash(b"").hex() == "cae66941d9efbd404e4d88758ea67670"
    assert len(blob_hash(b"page")) == BLOB_HASH_BYTES


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_memory_gives_back_what_it_was_given(pieces: list[bytes]) -> None:
    blobs = MemoryBlobs()
    names = [blobs.put_blob(piece) for piece in pieces]
    assert [blobs.blob(name) for name in names] == pieces
    assert len(set(names)) == len(set(pieces))


def test_memory_and_files_are_interchangeable(tmp_path: Path) -> None:
    def copy(names: list[BlobHash], source: BlobSource, sink: BlobSink) -> list[BlobHash]:
        return [sink.put_blob(source.blob(name)) for name in names]

    memory = MemoryBlobs()
    names = [memory.put_blob(b"one"), memory.put_blob(b"two" * 100)]
    with RecordingWriter.create(tmp_path / "a.kms", {}) as writer:
        assert copy(names, memory, writer) == names
    with RecordingReader.open(tmp_path / "a.kms") as reader:
        assert copy(names, reader, MemoryBlobs()) == names


def test_a_blob_put_twice_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "a.kms"
    with RecordingWriter.create(path, {}) as writer:
        first = writer.put_blob(b"page table")
        assert writer.put_blob(b"page table") == first
        assert writer.nr_records == 1
    with RecordingWriter.reopen(path) as writer:
        nr_before = writer.nr_records
        assert writer.put_blob(b"page table") == first
        assert writer.nr_records == nr_before
    with RecordingReader.open(path) as reader:
        assert [entry.key for entry in reader.records(BLOB_KIND)] == [{"hash": first}]
        assert reader.blob(first) == b"page table"


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.kms"
    RecordingWriter.create(path, {}).close()
    with RecordingReader.open(path) as reader:
        assert not reader.has_blob(blob_hash(b"never"))
        with pytest.raises(RecordingError, match=rf"a\.kms: no blob {blob_hash(b'never').hex()}"):
            reader.blob(blob_hash(b"never"))
    with pytest.raises(RecordingError, match="no blob"):
        MemoryBlobs().blob(blob_hash(b"never"))


@pytest.mark.parametrize("body", [b"other bytes", "text", None])
def test_a_blob_under_a_wrong_name_is_not_believed(tmp_path: Path, body: object) -> None:
    name = blob_hash(b"right bytes")
    path = tmp_path / "forged.kms"
    header = encode_header({})
    path.write_bytes(header + encode_record(BLOB_KIND, body, key=blob_key(name)))
    with (
        RecordingReader.open(path) as reader,
        pytest.raises(RecordingError, match=f"byte {len(header)}: .*blob"),
    ):
        reader.blob(name)


def test_a_right_blob_is_returned_as_it_is() -> None:
    assert check_blob(b"page", blob_hash(b"page"), offset_bytes=0) == b"page"


def test_a_blob_in_the_cache_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.kms"
    with RecordingWriter.create(path, {}) as writer:
        name = writer.put_blob(b"page")
    reader = RecordingReader.open(path)
    assert reader.blob(name) == b"page"
    reader.close()
    assert reader.blob(name) == b"page"
