"""What can be saved of a damaged recording is saved, is true, and what is not is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.bookmarks import Bookmark
from snapshots.branches import BranchTree
from snapshots.container.recording_file import RecordEntry, RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording import Origin, open_recording, save_timeline, save_tree
from snapshots.repair import Repaired, repair_recording
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.verify import examine
from tests.snapshots.conftest import (
    BUSY,
    GFP_KERNEL,
    inputs_of,
    recorded,
    short_segments,
    small_config,
)


def run_of() -> Timeline:
    with short_segments(6):
        return recorded(small_config(cpus=3), BUSY)


@pytest.fixture(scope="module")
def whole() -> Timeline:
    return run_of()


class Saved(bytes):
    """The bytes of a file, shown by their number when a test fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@pytest.fixture(scope="module")
def saved(whole: Timeline, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "run.kms"
    save_timeline(path, whole, Origin(source="x"))
    return Saved(path.read_bytes())


def entries_of(path: Path, kind: str) -> list[RecordEntry]:
    with RecordingReader.open(path) as reader:
        return [entry for entry in reader.records() if entry.kind == kind]


def repaired(tmp_path: Path, data: bytes) -> tuple[Repaired, Timeline]:
    path, out = tmp_path / "bad.kms", tmp_path / "good.kms"
    path.write_bytes(data)
    report = repair_recording(path, out)
    assert path.read_bytes() == data
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad.kms", "good.kms"]
    assert report.problems == [] and examine(out).ok
    opened = open_recording(out)
    opened.reader.close()
    return report, open_recording(out).timeline


def assert_a_beginning_of(whole: Timeline, part: Timeline) -> None:
    inputs = inputs_of(part)
    assert inputs == inputs_of(whole)[: len(inputs)]
    for step in {0, part.end_step // 2, part.end_step}:
        part.seek(step)
        whole.seek(step)
        assert state_digest(part.machine) == state_digest(whole.machine)


def test_a_whole_file_stays_whole(tmp_path: Path, whole: Timeline, saved: bytes) -> None:
    report, part = repaired(tmp_path, saved)
    assert report.is_whole and report.damage == []
    assert (report.nr_steps, report.nr_inputs) == (whole.end_step, whole.nr_inputs)
    assert report.nr_events == whole.nr_events
    assert inputs_of(part) == inputs_of(whole)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1))
def test_a_cut_file_gives_a_true_beginning(
    tmp_path_factory: pytest.TempPathFactory, whole: Timeline, saved: bytes, cut: float
) -> None:
    end = round(cut * len(saved))
    try:
        report, part = repaired(tmp_path_factory.mktemp("cut"), saved[:end])
    except RecordingError:
        assert end < len(saved) // 2  # not even the first keyframe was in it
        return
    assert_a_beginning_of(whole, part)
    assert report.is_whole == (part.end_step == whole.end_step and end > len(saved) - 3000) or end


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 0.999), st.integers(1, 255))
def test_a_flipped_byte_gives_a_true_beginning(
    tmp_path_factory: pytest.TempPathFactory, whole: Timeline, saved: bytes, at: float, bits: int
) -> None:
    place = int(at * len(saved))
    data = bytearray(saved)
    data[place] ^= bits
    try:
        report, part = repaired(tmp_path_factory.mktemp("flip"), bytes(data))
    except RecordingError:
        assert place < len(saved) // 2
        return
    assert_a_beginning_of(whole, part)
    assert report.damage


def flip(entry: RecordEntry) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[entry.offset_bytes + entry.length_bytes - 3] ^= 0x55

    return change


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("kind", ["Blob", "Segment", "Keyframe"])
def test_damage_in_the_middle_costs_no_more_than_it_must(
    tmp_path: Path, whole: Timeline, saved: bytes, kind: str, with_index: bool
) -> None:
    path = tmp_path / "bad.kms"
    path.write_bytes(saved)
    rows = entries_of(path, kind)
    entry = rows[len(rows) // 2]
    data = bytearray(saved)
    flip(entry)(data)
    if not with_index:
        data[-10] ^= 1
    path.unlink()
    report, part = repaired(tmp_path, bytes(data))
    assert_a_beginning_of(whole, part)
    assert any(f"byte {entry.offset_bytes}" in line for line in report.damage)
    if kind == "Segment":
        number = entry.key["n"]
        assert isinstance(number, int)
        assert part.end_step >= whole.heads[number].first_step
        assert not report.is_whole and report.lost
    elif kind == "Blob" or with_index:
        assert part.end_step == whole.end_step
    else:
        assert part.end_step > 0


def test_a_cut_tail_tells_how_much_was_saved(tmp_path: Path, whole: Timeline, saved: bytes) -> None:
    path = tmp_path / "bad.kms"
    path.write_bytes(saved)
    last = entries_of(path, "Segment")[-1]
    path.unlink()
    report, part = repaired(tmp_path, saved[: last.offset_bytes + 5])
    assert part.end_step == whole.heads[-1].first_step == report.nr_steps
    assert report.nr_inputs == whole.heads[-1].first_input
    assert "does not tell how far it went" in report.lost[0]
    assert f"byte {last.offset_bytes}" in report.damage[0]


def test_branches_and_bookmarks_are_kept(tmp_path: Path) -> None:
    with short_segments(6):
        timeline = run_of()
        tree = BranchTree.of(timeline)
        for part in (2, 4):
            here = tree.current.timeline
            here.seek(here.end_step * part // 5)
            branch = tree.fork("a note")
            for cpu in range(3):
                branch.timeline.give("pcpu_alloc", cpu, (64, 8, False, GFP_KERNEL, "here"))
                branch.timeline.advance(NO_LIMIT)
        tree.rename(tree.branches[1], "atomic")
        marks = {"x": Bookmark("x", 1, 3), "y": Bookmark("y", 0, timeline.end_step, "n")}
        save_tree(tmp_path / "run.kms", tree, Origin(), marks)
    data = (tmp_path / "run.kms").read_bytes()
    [index] = entries_of(tmp_path / "run.kms", "index")
    damaged = bytearray(data)
    flip(index)(damaged)
    (tmp_path / "run.kms").write_bytes(damaged)
    report = repair_recording(tmp_path / "run.kms", tmp_path / "good.kms")
    assert report.problems == [] and report.lost == [] and report.nr_branches == 3
    opened = open_recording(tmp_path / "good.kms")
    assert opened.bookmarks == marks
    assert [branch.name for _, branch in opened.tree.walk()] == [
        branch.name for _, branch in tree.walk()
    ]
    for number, branch in tree.branches.items():
        one, other = branch.timeline, opened.tree.branches[number].timeline
        assert inputs_of(one) == inputs_of(other)
        one.seek(one.end_step)
        other.seek(other.end_step)
        assert state_digest(one.machine) == state_digest(other.machine)
    opened.reader.close()


def test_the_file_itself_is_never_written(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "run.kms"
    path.write_bytes(saved[:-50])
    (tmp_path / "link.kms").symlink_to(path)
    for out in (path, tmp_path / "link.kms"):
        with pytest.raises(RecordingError, match="this is what is read"):
            repair_recording(path, out)
    assert path.read_bytes() == saved[:-50]


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x95\xa9kmemscope"])
def test_what_is_no_recording_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.kms").write_bytes(data)
    with pytest.raises(RecordingError):
        repair_recording(tmp_path / "bad.kms", tmp_path / "good.kms")
    assert [each.name for each in tmp_path.iterdir()] == ["bad.kms"]
