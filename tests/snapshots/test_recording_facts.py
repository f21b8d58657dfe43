"""The facts are right, cost no unpacking, and are told of damaged files, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapshots.bookmarks import Bookmark
from snapshots.branches import BranchTree
from snapshots.container.recording_file import RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording import Origin, save_timeline, save_tree
from snapshots.recording_facts import Facts, recording_facts
from snapshots.timeline import Timeline
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config

V1 = Path(__file__).parents[1] / "recordings" / "v1-small.kms"
ORIGIN = Origin("trace", "x.txt", "predicted", counts={"early_operations": 7})


def run_of() -> Timeline:
    with short_segments(6):
        return recorded(small_config(cpus=3), BUSY)


def facts_of(path: Path) -> tuple[dict[str, int | str], Facts]:
    facts = recording_facts(path)
    assert len(dict(facts.rows)) == len(facts.rows)
    return dict(facts.rows), facts


@pytest.fixture
def timeline() -> Timeline:
    return run_of()


@pytest.fixture
def path(tmp_path: Path, timeline: Timeline) -> Path:
    save_timeline(tmp_path / "run.kms", timeline, ORIGIN)
    return tmp_path / "run.kms"


def test_they_are_those_of_the_run(path: Path, timeline: Timeline) -> None:
    rows, facts = facts_of(path)
    marks = [mark.kind for mark in timeline.marks()]
    assert facts.problems == []
    wanted = {
        "file": "recording", "format": "1.0", "found by": "index", "machine": "small",
        "kernel": "6.1", "possible CPUs": "0-2", "nodes": 1, "first step": 0,
        "last step": timeline.end_step, "inputs": timeline.nr_inputs, "events": timeline.nr_events,
        "segments": len(timeline.heads), "keyframes": len(timeline.heads),
        "chunks created": marks.count("c"), "chunks destroyed": marks.count("d"),
        "failed allocations": marks.count("f"), "origin": "trace", "source": "x.txt",
        "mode": "predicted", "early operations": 7, "branches": 1, "bookmarks": 0,
    }  # fmt: skip
    assert {name: rows[name] for name in wanted} == wanted
    size_bytes = path.stat().st_size
    assert rows["bytes"] == size_bytes
    assert rows["bytes per operation"] == f"{size_bytes / timeline.nr_inputs:.1f}"


def test_records_and_bytes_add_up(path: Path) -> None:
    rows, _ = facts_of(path)
    with RecordingReader.open(path) as reader:
        header_bytes = reader.header.length_bytes
        assert rows["records"] == len(reader)
    sizes = [value for name, value in rows.items() if name.endswith(" bytes")]
    assert sum(map(int, sizes)) + header_bytes == rows["bytes"]
    counts = [value for name, value in rows.items() if name.endswith(" records")]
    assert sum(map(int, counts)) == rows["records"]


def test_no_segment_keyframe_or_blob_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = RecordingReader.read

    def noting(reader: RecordingReader, entry):  # type: ignore[no-untyped-def]
        read.append(entry.kind)
        return whole(reader, entry)

    monkeypatch.setattr(RecordingReader, "read", noting)
    recording_facts(path)
    assert read == ["Branch"]


def test_branches_and_bookmarks_are_listed(tmp_path: Path, timeline: Timeline) -> None:
    tree = BranchTree.of(timeline)
    timeline.seek(40)
    branch = tree.fork()
    tree.rename(branch, "atomic")
    branch.timeline.give("purge_vmap", 0)
    branch.timeline.advance(41)
    marks = {"here": Bookmark("here", 1, 41, "n"), "there": Bookmark("there", 0, 7)}
    save_tree(tmp_path / "run.kms", tree, Origin(), marks)
    rows, _ = facts_of(tmp_path / "run.kms")
    assert (rows["branches"], rows["bookmarks"]) == (2, 2)
    assert str(rows["branch 1"]).startswith("atomic: off 0 at step 40, ends at 41, ")
    assert (rows["@here"], rows["@there"]) == ("step 41 of branch 1", "step 7")


def test_a_recording_of_version_1(tmp_path: Path) -> None:
    rows, facts = facts_of(V1)
    assert facts.problems == []
    assert (rows["machine"], rows["last step"], rows["inputs"]) == ("small", 394, 53)


def test_a_cut_file_tells_where(path: Path) -> None:
    whole = path.read_bytes()
    for end in range(len(whole) - 1, 700, -len(whole) // 9):
        path.write_bytes(whole[:end])
        rows, facts = facts_of(path)
        assert rows["found by"] == "scan" and rows["machine"] == "small"
        assert "byte " in " ".join(facts.problems) or "no end" in " ".join(facts.problems)


def test_damage_under_a_good_index_is_told_where_it_matters(path: Path) -> None:
    with RecordingReader.open(path) as reader:
        [entry] = reader.records("Branch")
    data = bytearray(path.read_bytes())
    data[entry.offset_bytes + 30] ^= 1
    path.write_bytes(data)
    rows, facts = facts_of(path)
    assert f"byte {entry.offset_bytes}" in facts.problems[0]
    assert rows["inputs"] and "origin" not in rows


def test_a_damaged_header_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="byte 0: the checksum"):
        recording_facts(path)
