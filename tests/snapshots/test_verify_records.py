"""Records are looked at one by one, whatever they mean."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.container.records import encode_record, frame_record
from snapshots.errors import RecordingError
from snapshots.recording import Origin, save_timeline
from snapshots.verify_records import check_records, torn_text
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with short_segments(6):
        save_timeline(tmp_path / "run.kms", recorded(small_config(cpus=3), BUSY), Origin())
    return tmp_path / "run.kms"


def test_a_whole_file_has_no_problem(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        assert check_records(path) == ([], len(reader))


def test_damage_in_the_middle_is_told_with_both_places(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        entries = list(reader.records())
    middle, following = entries[len(entries) // 2 : len(entries) // 2 + 2]
    whole = bytearray(path.read_bytes())
    whole[middle.offset_bytes + 20] ^= 1
    path.write_bytes(whole)
    problem = check_records(path).problems[0]
    assert f"byte {middle.offset_bytes}: the checksum" in problem
    assert f"a complete record stands behind it at byte {following.offset_bytes}" in problem


def test_a_cut_file_tells_where_it_ends(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    assert "are lost" in check_records(path).problems[0]
    with RecordingReader.open(path) as reader:
        assert torn_text(reader) in check_records(path).problems[0]


def test_an_index_that_lies_is_told(path: Path, tmp_path: Path) -> None:
    """An index of other lengths with right checksums: two records swapped behind its back."""
    with RecordingReader.open(path) as reader:
        blobs = [entry for entry in reader.records() if entry.kind == "Blob"]
    whole = path.read_bytes()
    pair = next(
        (a, b) for a, b in pairwise(blobs) if a.offset_bytes + a.length_bytes == b.offset_bytes
    )
    a, b = (whole[each.offset_bytes :][: each.length_bytes] for each in pair)
    start = pair[0].offset_bytes
    path.write_bytes(whole[:start] + b + a + whole[start + len(a) + len(b) :])
    problems = check_records(path).problems
    assert any(f"byte {start}: the index tells of another record" in line for line in problems)


def test_a_trailer_that_leads_nowhere_is_told(path: Path) -> None:
    whole = path.read_bytes()
    with RecordingReader.open(path) as reader:
        index, trailer = list(reader.records())[-2:]
    extra = encode_record("note", "x")
    path.write_bytes(whole[: index.offset_bytes] + extra + whole[index.offset_bytes :])
    problem = check_records(path).problems[0]
    assert (
        f"byte {trailer.offset_bytes + len(extra)}: the trailer leads to no good index" in problem
    )


def test_a_file_that_was_not_closed_is_no_problem_here(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        index = list(reader.records())[-2]
    path.write_bytes(path.read_bytes()[: index.offset_bytes])
    assert check_records(path).problems == []


def test_a_body_that_cannot_be_unpacked_is_told(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with RecordingWriter.create(path, {}) as writer:
        writer.append("note", {"a": 1})
    wrong = frame_record("note", flags=0, key_packed=b"", stored_body=b"\xc1")
    with RecordingReader.open(path) as reader:
        index = list(reader.records())[-2]
    path.write_bytes(path.read_bytes()[: index.offset_bytes] + wrong)
    assert f"byte {index.offset_bytes}: " in check_records(path).problems[0]


def test_a_kind_that_must_be_known_is_refused(tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "run.kms", {}) as writer:
        writer.append("Strange", 1)
    with pytest.raises(RecordingError, match="must be understood"):
        check_records(tmp_path / "run.kms")
