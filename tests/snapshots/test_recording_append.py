"""Saving to the recording one came from: the old bytes stay, the tree comes back, an error undoes it all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from snapshots.bookmarks import Bookmark
from snapshots.container.record_places import drained
from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.errors import RecordingError
from snapshots.journal import Journal
from snapshots.origin import Origin
from snapshots.recording import open_recording, save_timeline, save_tree
from snapshots.recording_append import append_tree, appending_tree
from snapshots.verify import verify_recording
from tests.snapshots.acted_tree import Truth, Worker, is_prefix, truth_of
from tests.snapshots.conftest import recorded, short_segments, small_config

FIXTURES = Path(__file__).parents[1] / "recordings"
CONFIG = small_config(cpus=2)
ORIGIN = Origin(notes=["a note"])


def truth_in(path: Path) -> Truth:
    opened = open_recording(path)
    try:
        return truth_of(opened.tree)
    finally:
        opened.reader.close()


def saved(path: Path, seed: int, nr_acts: int = 30) -> Worker:
    """A recording, and somebody who has just opened it."""
    worker = Worker(CONFIG, seed)
    for _ in range(nr_acts):
        worker.act()
    save_tree(path, worker.tree, ORIGIN, worker.bookmarks)
    opened = open_recording(path)
    worker.tree, worker.bookmarks = opened.tree, opened.bookmarks
    return worker


@pytest.mark.parametrize("seed", range(10))
def test_the_old_bytes_stay_and_the_tree_comes_back(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "run.kms"
    with short_segments(4):
        worker = saved(path, seed)
        for _ in range(3):
            before = path.read_bytes()
            for _ in range(15):
                worker.act()
            append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
            assert path.read_bytes().startswith(before)
            opened = open_recording(path)
            assert opened.reader.is_indexed
            assert opened.warnings == []
            assert truth_of(opened.tree) == truth_of(worker.tree)
            assert opened.bookmarks == worker.bookmarks
            assert opened.origin == ORIGIN
            opened.reader.close()


def test_what_was_appended_is_true_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(4):
        worker = saved(path, 3)
        for _ in range(30):
            worker.act()
        while worker.timeline.input_at(worker.timeline.nr_inputs - 1).cpu == 99:
            worker.act()
        append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
    assert truth_in(path) == truth_of(worker.tree)


def test_nothing_new_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker = saved(path, 4)
    before = path.read_bytes()
    truth_of(worker.tree)  # to read a branch is no change
    assert append_tree(path, worker.tree, ORIGIN, worker.bookmarks) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["v1-small.kms", "v2-small.kms"])
def test_recordings_of_older_schemas_can_be_continued(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy(FIXTURES / name, path)
    before = path.read_bytes()
    opened = open_recording(path)
    timeline = opened.timeline
    timeline.seek(timeline.end_step)
    for size_bytes in (64, 128, 256):
        timeline.give("pcpu_alloc", 0, (size_bytes, 8, False, 0xCC0, "here"))
        timeline.advance(1 << 62)
    timeline.seek(timeline.end_step // 2)
    branch = opened.tree.fork("what if")
    branch.timeline.give("pcpu_alloc", 0, (512, 8, False, 0xCC0, "here"))
    branch.timeline.advance(1 << 62)
    append_tree(path, opened.tree, opened.origin)
    assert path.read_bytes().startswith(before)
    assert truth_in(path) == truth_of(opened.tree)
    assert verify_recording(path) == []


@pytest.mark.parametrize("nr_writes", range(12))
@pytest.mark.parametrize("is_short", [False, True])
def test_a_write_error_half_way_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nr_writes: int, is_short: bool
) -> None:
    path, pwrite, left = tmp_path / "run.kms", os.pwrite, [nr_writes]

    def failing(descriptor: int, data: bytes, at: int) -> int:
        left[0] -= 1
        if left[0] >= 0:
            return pwrite(descriptor, data, at)
        if is_short and left[0] == -1:
            return pwrite(descriptor, bytes(data)[: len(data) // 2], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with short_segments(3):
        worker = saved(path, 6)
        for _ in range(20):
            worker.act()
        before = path.read_bytes()
        monkeypatch.setattr(os, "pwrite", failing)
        with pytest.raises(RecordingError) as caught:
            append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
        monkeypatch.setattr(os, "pwrite", pwrite)
        assert str(caught.value).startswith(f"{path}: No space left on device")
        assert "the file is as it was" in str(caught.value)
        assert path.read_bytes() == before
        append_tree(path, worker.tree, ORIGIN, worker.bookmarks)  # the disk has room again
        assert truth_in(path) == truth_of(worker.tree)


def test_giving_up_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(3):
        worker = saved(path, 6)
        for _ in range(20):
            worker.act()
        before = path.read_bytes()
        nr_slices = sum(1 for _ in appending_tree(tmp_path / "run.kms", worker.tree, ORIGIN))
        path.write_bytes(before)
        for nr_taken in range(1, nr_slices):
            saving = appending_tree(path, worker.tree, ORIGIN)
            for _ in range(nr_taken):
                next(saving)
            saving.close()
            assert path.read_bytes() == before


def test_a_kill_half_way_leaves_a_prefix_with_all_that_was_there(tmp_path: Path) -> None:
    path, cut = tmp_path / "run.kms", tmp_path / "cut.kms"
    with short_segments(3):
        worker = saved(path, 8)
        old_bytes, old = path.stat().st_size, truth_of(worker.tree)
        for _ in range(25):
            worker.act()
        append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
        data, new = path.read_bytes(), truth_of(worker.tree)
        for end in range(old_bytes, len(data), 13):
            cut.write_bytes(data[:end])
            found = truth_in(cut)
            assert is_prefix(old, found), f"byte {end}"
            assert is_prefix(found, new), f"byte {end}"


def test_what_was_cut_off_half_way_can_be_saved_to_again(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(3):
        worker = saved(path, 8)
        old_bytes = path.stat().st_size
        for _ in range(25):
            worker.act()
        append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
        data = path.read_bytes()
        for end in range(old_bytes + 1, len(data), 997):
            path.write_bytes(data[:end])
            opened = open_recording(path)
            worker.tree, worker.bookmarks = opened.tree, opened.bookmarks
            worker.tree.current.timeline.seek(0)
            for _ in range(6):
                worker.act()
            append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
            assert truth_in(path) == truth_of(worker.tree)
            opened.reader.close()


def test_a_file_that_somebody_else_has_saved_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker, other = saved(path, 9), open_recording(path)
    timeline = other.timeline
    timeline.seek(timeline.end_step // 2)
    other.tree.fork().timeline.give("pcpu_alloc", 0, (8, 8, False, 0xCC0, "theirs"))
    append_tree(path, other.tree, ORIGIN, other.bookmarks)
    theirs = path.read_bytes()
    worker.timeline.seek(worker.timeline.end_step)
    worker.give(64, 0xCC0)
    with pytest.raises(RecordingError, match=r"somebody else has saved to it.*save OTHER\.kms"):
        append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
    assert path.read_bytes() == theirs


def test_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(3):
        saved(path, 9)
        with pytest.raises(
            RecordingError, match=r"not the one of this session|none of this session"
        ):
            append_tree(path, Worker(CONFIG, 1).tree, ORIGIN)


def test_a_file_that_is_being_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker = saved(path, 2)
    writer = RecordingWriter.reopen(path)
    before = path.read_bytes()
    for refused in (
        lambda: append_tree(path, worker.tree, ORIGIN),
        lambda: save_tree(path, worker.tree, ORIGIN),
        lambda: Journal.begin(path),
    ):
        with pytest.raises(RecordingError, match=r"another writer|exists already"):
            refused()
    writer.close()
    assert path.read_bytes() == before


def test_branches_of_one_file_share_their_parts(tmp_path: Path) -> None:
    """What one branch has appended another does not append again; each part rests on earlier ones."""
    path = tmp_path / "run.kms"
    with short_segments(3):
        worker = saved(path, 11)
        for _ in range(40):
            worker.act()
        append_tree(path, worker.tree, ORIGIN, worker.bookmarks)
    with RecordingReader.open(path) as reader:
        seen: dict[object, None] = {}
        for entry in reader.records():
            if entry.kind == "Patch":
                assert entry.key["h"] not in seen and entry.key["o"] in seen
            if entry.kind in ("Blob", "Patch"):
                seen[entry.key["hash" if entry.kind == "Blob" else "h"]] = None


@pytest.mark.parametrize("is_branch", [False, True])
def test_what_another_session_has_saved_meanwhile_is_not_taken_back(
    tmp_path: Path, is_branch: bool
) -> None:
    path = tmp_path / "run.kms"
    timeline = recorded(CONFIG, [("alloc", 0, 64, 8, 0xCC0)])
    save_timeline(path, timeline, ORIGIN)
    first, second = open_recording(path), open_recording(path)
    for opened, size_bytes in ((first, 64), (second, 4096)):
        timeline = opened.timeline
        timeline.seek(timeline.end_step - is_branch)
        if is_branch:
            timeline = opened.tree.fork().timeline
        timeline.give("pcpu_alloc", 0, (size_bytes, 8, False, 0xCC0, "here"))
        timeline.advance(1 << 62)
    append_tree(path, first.tree, ORIGIN)
    before = path.read_bytes()
    with pytest.raises(RecordingError, match="not the one of this session; the file is as it was"):
        append_tree(path, second.tree, ORIGIN)
    assert path.read_bytes() == before
    assert truth_in(path) == truth_of(first.tree)


def test_a_file_that_is_longer_than_it_was_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker = saved(path, 4)
    known_bytes = path.stat().st_size
    ours = {"ours": Bookmark("ours", 0, 0)}
    append_tree(path, worker.tree, ORIGIN, {"theirs": Bookmark("theirs", 0, 0)})
    before = path.read_bytes()
    with pytest.raises(RecordingError, match="somebody else has saved to this file"):
        drained(appending_tree(path, worker.tree, ORIGIN, ours, known_bytes))
    assert path.read_bytes() == before
    drained(appending_tree(path, worker.tree, ORIGIN, ours, len(before)))
