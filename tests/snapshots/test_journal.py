"""Journals: what was noted is there again, whenever the writer dies and wherever the file is cut."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_sim.random_state import RandomState
from snapshots.bookmarks import Bookmark
from snapshots.container.record_places import drained
from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.errors import RecordingError
from snapshots.journal import Journal, Place, read_place
from snapshots.origin import Origin
from snapshots.recording import open_recording, save_tree
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tests.child import running
from tests.snapshots.acted_tree import REFUSING_CPU, Truth, Worker, is_prefix, truth_of
from tests.snapshots.conftest import inputs_of, short_segments, small_config

CONFIG = small_config(cpus=2)
ORIGIN = Origin(notes=["a note"])
KILLS, KILLS_SLOW = 8, 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "20260101-000000-run-1.kms"


def note(journal: Journal, worker: Worker) -> None:
    journal.note(worker.tree, ORIGIN, worker.bookmarks, worker.place())


def reopened(path: Path) -> tuple[Truth, dict[str, Bookmark], Place, str]:
    """All that a journal gives back, and the digest of the state where its user stood."""
    opened = open_recording(path)
    try:
        place = read_place(opened.reader)
        assert place is not None
        found = truth_of(opened.tree)
        timeline = opened.tree.branches[place.branch].timeline
        timeline.seek(place.step)
        assert timeline.step == place.step
        return found, opened.bookmarks, place, state_digest(timeline.machine)
    finally:
        opened.reader.close()


def worked(path: Path, seed: int, nr_acts: int, every: int = 1) -> tuple[Journal, Worker]:
    worker, journal = Worker(CONFIG, seed), Journal.begin(path)
    for number in range(nr_acts):
        worker.act()
        if number % every == 0:
            note(journal, worker)
    note(journal, worker)
    return journal, worker


@pytest.mark.parametrize("seed", range(12))
def test_what_was_noted_is_there_again(path: Path, seed: int) -> None:
    with short_segments(4):
        journal, worker = worked(path, seed, 60, every=1 + seed % 3)
        found, bookmarks, place, digest = reopened(path)
        assert found == truth_of(worker.tree)
        assert (bookmarks, place) == (worker.bookmarks, worker.place())
        assert digest == worker.digest()
        journal.remove()
        assert not path.exists()


@pytest.mark.parametrize("seed", range(4))
def test_a_journal_is_gone_on_with_after_each_death(path: Path, seed: int) -> None:
    with short_segments(3):
        journal, worker = worked(path, seed, 25)
        for _ in range(3):
            journal.writer.leave()
            opened = open_recording(path)
            journal = drained(Journal.resuming(path))
            place = read_place(opened.reader)
            assert place is not None
            worker.tree, worker.bookmarks = opened.tree, opened.bookmarks
            worker.tree.branches[place.branch].timeline.seek(place.step)
            worker.tree.current_number = place.branch
            for _ in range(15):
                worker.act()
                note(journal, worker)
            found, bookmarks, _, digest = reopened(path)
            assert found == truth_of(worker.tree)
            assert (bookmarks, digest) == (worker.bookmarks, worker.digest())
        journal.writer.leave()


def test_who_only_looks_leaves_a_few_bytes_and_no_run(path: Path) -> None:
    worker, journal = Worker(CONFIG, 1), Journal.begin(path)
    worker.is_unsaved = False
    for _ in range(50):
        note(journal, worker)
    assert path.stat().st_size < 300
    with RecordingReader.open(path) as reader:
        assert read_place(reader) == worker.place()
    journal.remove()


def test_nothing_is_written_when_nothing_is_new(path: Path) -> None:
    journal, worker = worked(path, 3, 20)
    nr_bytes = path.stat().st_size
    began = time.perf_counter()
    for _ in range(20):
        note(journal, worker)
    assert (time.perf_counter() - began) / 20 < 0.005
    assert path.stat().st_size == nr_bytes
    journal.remove()


def test_the_journal_of_a_recording_begins_with_its_bytes(path: Path, tmp_path: Path) -> None:
    source = tmp_path / "run.kms"
    with short_segments(4):
        worker = Worker(CONFIG, 5)
        for _ in range(40):
            worker.act()
        save_tree(source, worker.tree, ORIGIN, worker.bookmarks)
        opened = open_recording(source)
        worker.tree, worker.bookmarks = opened.tree, opened.bookmarks
        journal = Journal.begin(path)
        for _ in range(30):
            worker.act()
            note(journal, worker)
        assert path.read_bytes().startswith(source.read_bytes())
        found, bookmarks, _, digest = reopened(path)
        assert found == truth_of(worker.tree)
        assert (bookmarks, digest) == (worker.bookmarks, worker.digest())
        journal.remove()
        opened.reader.close()


def test_a_cut_at_every_byte_gives_a_prefix_or_is_refused(path: Path, tmp_path: Path) -> None:
    """Every byte behind the last of a few notes; before it every 7th: what is complete is believed."""
    cut = tmp_path / "cut.kms"
    with short_segments(4):
        worker, journal = Worker(CONFIG, 7), Journal.begin(path)
        lengths: list[tuple[int, Truth]] = []
        for _ in range(26):
            worker.act()
            note(journal, worker)
            lengths.append((path.stat().st_size, truth_of(worker.tree)))
        journal.writer.leave()
        data, whole = path.read_bytes(), lengths[-1][1]
        near = lengths[-4][0]
        for end in [*range(0, near, 37), *range(near, len(data) + 1, 3)]:
            cut.write_bytes(data[:end])
            noted = max((at for at, (length, _) in enumerate(lengths) if length <= end), default=-1)
            try:
                opened = open_recording(cut)
            except RecordingError:
                assert noted < 0, f"byte {end}: {noted} notes are complete"
                continue
            found = truth_of(opened.tree)
            opened.reader.close()
            assert is_prefix(found, whole), f"byte {end}"
            assert noted < 0 or is_prefix(lengths[noted][1], found), f"byte {end}"


def refuse(number: int) -> Callable[..., int]:
    def pwrite(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return pwrite


@pytest.mark.parametrize("nr_writes", range(0, 14, 2))
@pytest.mark.parametrize("is_short", [False, True])
def test_a_write_error_half_way_leaves_all_that_was_noted(
    path: Path, monkeypatch: pytest.MonkeyPatch, nr_writes: int, is_short: bool
) -> None:
    pwrite, left = os.pwrite, [nr_writes]

    def failing(descriptor: int, data: bytes, at: int) -> int:
        left[0] -= 1
        if left[0] >= 0:
            return pwrite(descriptor, data, at)
        if is_short and left[0] == -1:
            return pwrite(descriptor, bytes(data)[: len(data) // 2], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with short_segments(4):
        worker, journal = Worker(CONFIG, 9), Journal.begin(path)
        note(journal, worker)
        monkeypatch.setattr(os, "pwrite", failing)
        before: Truth = {}
        with pytest.raises(RecordingError, match=f"{path.parent}.*No space left on device"):
            for _ in range(200):
                worker.act()
                note(journal, worker)
                before = truth_of(worker.tree)
        monkeypatch.setattr(os, "pwrite", pwrite)
        journal.writer.leave()
        if before:
            assert is_prefix(before, reopened(path)[0])
        else:  # the run was not in it: the place still is
            with RecordingReader.open(path) as reader:
                assert read_place(reader) is not None
        assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_directory_that_takes_nothing_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(RecordingError, match=f"{path}: Read-only file system"):
        Journal.begin(path)


def test_a_session_that_lives_is_not_gone_on_with_by_another(path: Path) -> None:
    journal, _ = worked(path, 2, 5)
    with pytest.raises(RecordingError, match="another writer has this recording open"):
        drained(Journal.resuming(path))
    journal.remove()


def test_giving_up_half_way_leaves_the_places_and_no_other_file(path: Path) -> None:
    worker, journal = Worker(CONFIG, 2), Journal.begin(path)
    worker.is_unsaved = False
    note(journal, worker)
    worker.is_unsaved = True
    for _ in range(10):
        worker.act()
    noting = journal.noting(worker.tree, ORIGIN, worker.bookmarks, worker.place())
    next(noting)
    noting.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    note(journal, worker)  # the next time it is all there
    assert reopened(path)[0] == truth_of(worker.tree)
    journal.remove()


@pytest.mark.parametrize("nr_calls", [1, 4, 9, 15])
def test_an_interrupt_in_the_middle_of_a_note_costs_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, nr_calls: int
) -> None:
    """Ctrl-C may come anywhere: the file that was there is complete, and the next note makes all good."""
    append, left = RecordingWriter.append, [nr_calls]

    def interrupted(self: RecordingWriter, *args: object, **more: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return append(self, *args, **more)  # type: ignore[arg-type]

    with short_segments(3):
        journal, worker = worked(path, 13, 20)
        before = truth_of(worker.tree)
        monkeypatch.setattr(RecordingWriter, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(100):
                worker.act()
                note(journal, worker)
        assert is_prefix(before, reopened(path)[0])
        for _ in range(10):
            worker.act()
            note(journal, worker)
        found, _, _, digest = reopened(path)
        assert (found, digest) == (truth_of(worker.tree), worker.digest())
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        journal.remove()


def test_a_place_that_is_none_is_refused() -> None:
    good = Place(1, 2, 3, 4, True, "a", "b", "c", 5)
    assert Place.from_body(good.to_body()) == good
    for wrong in ([], good.to_body() | {"step": "2"}, good.to_body() | {"branch": -1}):
        with pytest.raises(RecordingError):
            Place.from_body(wrong)
    assert replace(good, step=3) != good


# -- killed --------------------------------------------------------------------------------------------


def nr_taken(timeline: Timeline) -> int:
    """How many inputs there are, without those that wait to be refused: they may be gone a note later."""
    return sum(given.cpu != REFUSING_CPU for given in inputs_of(timeline))


def kill_and_reopen(path: Path, seed: int, source: Path | None) -> int:
    """Kill a child that works and notes, at a moment by chance; returns how many notes it has told."""
    words = [sys.executable, "-c", CHILD, str(path), str(seed), str(source or "")]
    chance = RandomState.from_seed(seed, stream=3)
    with running(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        rows = [json.loads(child.stdout.readline()), json.loads(child.stdout.readline())]
        time.sleep(chance.below(400) / 1000)
        child.send_signal(signal.SIGKILL)
        rows += [json.loads(line) for line in child.stdout if line.endswith("\n")]
    wanted, told = (
        [row for row in rows if "digest" not in row],
        [row for row in rows if "digest" in row],
    )
    last = told[-1]
    opened = open_recording(path)
    try:
        place = read_place(opened.reader)
        assert place is not None
        for number, (nr_inputs, end_step, parent, fork_step) in last["branches"].items():
            branch = opened.tree.branches[int(number)]
            timeline: Timeline = branch.timeline
            assert nr_taken(timeline) >= nr_inputs
            assert timeline.end_step >= end_step
            assert (branch.parent, branch.fork_step) == (parent, fork_step)
        assert place.branch in opened.tree.branches
        found = {name: mark.step for name, mark in opened.bookmarks.items()}
        begun = wanted[-1] if len(wanted) > len(told) else last  # of a note that was under way
        for name in {**found, **last["bookmarks"], **begun["bookmarks"]}:
            assert found.get(name) in (last["bookmarks"].get(name), begun["bookmarks"].get(name))
        if begun is last:
            assert place == Place.from_body(last["place"])
        timeline = opened.tree.branches[last["place"]["branch"]].timeline
        timeline.seek(last["place"]["step"])
        assert state_digest(timeline.machine) == last["digest"]
    finally:
        opened.reader.close()
    return len(told)


CHILD = """
import json, sys
from pathlib import Path
from snapshots.journal import Journal
from snapshots.recording import open_recording
from tests.snapshots.test_journal import CONFIG, note, nr_taken
from tests.snapshots.acted_tree import Worker
from tests.snapshots.conftest import short_segments

path, seed, source = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
worker, journal = Worker(CONFIG, seed), Journal.begin(path)
if source:
    opened = open_recording(source)
    worker.tree, worker.bookmarks = opened.tree, opened.bookmarks
with short_segments(5):
    while True:
        worker.act()
        marks = {name: mark.step for name, mark in worker.bookmarks.items()}
        print(json.dumps({"bookmarks": marks}), flush=True)  # about to be noted
        note(journal, worker)
        rows = {
            branch.number: [nr_taken(branch.loaded), branch.end_step, branch.parent, branch.fork_step]
            for branch in worker.tree.branches.values() if branch.loaded
        }
        print(json.dumps({
            "branches": rows, "bookmarks": marks, "place": worker.place().to_body(),
            "digest": worker.digest(),
        }), flush=True)
"""


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_session_is_all_there(tmp_path: Path, seed: int) -> None:
    _kill(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS, KILLS + KILLS_SLOW))
def test_nothing_complete_is_lost_by_two_hundred_kills(tmp_path: Path, seed: int) -> None:
    _kill(tmp_path, seed)


def _kill(tmp_path: Path, seed: int) -> None:
    source = None
    if seed % 2:
        source, worker = tmp_path / "source.kms", Worker(CONFIG, seed)
        with short_segments(5):
            for _ in range(40):
                worker.act()
            save_tree(source, worker.tree, ORIGIN, worker.bookmarks)
    assert kill_and_reopen(tmp_path / "journal.kms", seed, source) > 0
