"""A reader that follows a writer: at each look a prefix, at the end the same run."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.boot import boot
from kernel_sim.random_state import RandomState
from snapshots.container.recording_file import RecordingWriter
from snapshots.errors import RecordingError
from snapshots.journal import Journal
from snapshots.origin import Origin
from snapshots.recording import header_of, open_recording
from snapshots.recording_append import append_tree
from snapshots.recording_sink import RecordingSink
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.acted_tree import Worker, is_prefix, truth_of
from tests.snapshots.conftest import BUSY, play, short_segments, small_config

CONFIG = small_config(cpus=3)


@pytest.mark.parametrize("seed", range(10))
def test_who_follows_a_journal_sees_what_its_session_sees(tmp_path: Path, seed: int) -> None:
    path, chance = tmp_path / "run.kms", RandomState.from_seed(seed, stream=2)
    with short_segments(4):
        worker, journal = Worker(CONFIG, seed), Journal.begin(path)
        journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
        opened = open_recording(path)
        for _ in range(70):
            worker.act()
            journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
            if chance.below(3):
                continue
            timeline = opened.timeline
            timeline.seek(chance.below(timeline.end_step + 1))
            step, digest = timeline.step, state_digest(timeline.machine)
            opened.follow()
            assert (timeline.step, state_digest(timeline.machine)) == (step, digest)
            if chance.below(2):  # else branches are read late, or in the middle
                assert truth_of(opened.tree) == truth_of(worker.tree)
            if not chance.below(4):
                numbers = list(opened.tree.branches)
                opened.tree.current_number = numbers[chance.below(len(numbers))]
                opened.timeline.seek(opened.timeline.end_step)
        opened.follow()
        assert truth_of(opened.tree) == truth_of(worker.tree)
        assert opened.bookmarks == worker.bookmarks
        assert not opened.follow()
        for number, branch in worker.tree.branches.items():
            for step in (branch.fork_step, branch.end_step):
                branch.timeline.seek(step)
                ours = opened.tree.branches[number].timeline
                ours.seek(step)
                assert state_digest(ours.machine) == state_digest(branch.timeline.machine)
        journal.remove()
        opened.reader.close()


def test_who_follows_a_recording_run_sees_prefixes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(4):
        writer = RecordingWriter.create(path, header_of(CONFIG))
        sink = RecordingSink(writer)
        timeline = Timeline(boot(CONFIG), sink)
        opened = open_recording(path)
        for at in range(len(BUSY)):
            play(timeline, BUSY[at : at + 1])
            opened.follow()
            assert is_prefix(truth_of(opened.tree), _truth(timeline))
        timeline.advance(NO_LIMIT)
        sink.finish(timeline, Origin())
        writer.close()
        assert opened.follow()
        assert opened.reader.is_closed_by_writer
        assert truth_of(opened.tree) == _truth(timeline)


def _truth(timeline: Timeline) -> dict[int, dict[str, object]]:
    from snapshots.branches import BranchTree

    tree = BranchTree.of(timeline)
    return {0: truth_of(tree)[0] | {"fork": 0}}


def test_a_record_that_is_only_begun_is_waited_for(tmp_path: Path) -> None:
    path, growing = tmp_path / "run.kms", tmp_path / "growing.kms"
    with short_segments(4):
        worker, journal = Worker(CONFIG, 3), Journal.begin(path)
        journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
        begun_bytes = path.stat().st_size
        for _ in range(20):
            worker.act()
            journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
        data, whole = path.read_bytes(), truth_of(worker.tree)
        growing.write_bytes(data[:begun_bytes])
        opened = open_recording(growing)
        with growing.open("ab", buffering=0) as file:
            for at in range(begun_bytes, len(data), 61):
                file.write(data[at : at + 61])
                opened.follow()
                assert is_prefix(truth_of(opened.tree), whole)
        assert truth_of(opened.tree) == whole
        journal.remove()


def test_a_branch_on_which_the_reader_has_acted_is_his_own(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker, journal = Worker(CONFIG, 3), Journal.begin(path)
    worker.give(64, 0xCC0)
    journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
    opened = open_recording(path)
    opened.timeline.seek(NO_LIMIT)
    opened.timeline.give("pcpu_alloc", 1, (8, 8, False, 0xCC0, "mine"))
    opened.timeline.advance(NO_LIMIT)
    mine = truth_of(opened.tree)
    worker.give(64, 0xCC0)
    journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
    opened.follow()
    assert truth_of(opened.tree)[0]["inputs"] == mine[0]["inputs"]
    journal.remove()


@pytest.mark.parametrize("inputs", [2, 100])
def test_steps_that_the_reader_took_beyond_the_file_give_way_to_it(
    tmp_path: Path, inputs: int
) -> None:
    path = tmp_path / "run.kms"
    with short_segments(inputs):
        worker, journal = Worker(CONFIG, 3), Journal.begin(path)
        for _ in range(5):
            worker.timeline.give("pcpu_alloc", 0, (64, 8, False, 0xCC0, "here"))
        worker.timeline.advance(7)  # calls are under way
        journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
        opened = open_recording(path)
        opened.timeline.seek(NO_LIMIT)
        opened.timeline.advance(NO_LIMIT)
        assert opened.timeline.end_step > worker.timeline.end_step
        opened.timeline.seek(0)
        opened.timeline.seek(NO_LIMIT)
        for size_bytes in (8, 16, 32):
            worker.timeline.give("pcpu_alloc", 1, (size_bytes, 8, False, 0xCC0, "here"))
            worker.timeline.advance(worker.timeline.step + 3)
        journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
        opened.follow()
        assert truth_of(opened.tree) == truth_of(worker.tree)
        assert opened.timeline.step <= worker.timeline.end_step
        for step in (5, 8, worker.timeline.end_step):
            opened.timeline.seek(step)
            worker.timeline.seek(step)
            assert state_digest(opened.timeline.machine) == worker.digest()
        journal.remove()


def test_a_file_that_was_cut_is_told(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker, journal = Worker(CONFIG, 3), Journal.begin(path)
    for _ in range(5):
        worker.act()
        journal.note(worker.tree, Origin(), worker.bookmarks, worker.place())
    journal.keep()
    opened = open_recording(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)
    with pytest.raises(RecordingError, match="somebody has cut it"):
        opened.follow()


def test_a_save_to_the_same_file_is_followed(tmp_path: Path) -> None:
    from snapshots.recording import save_tree

    path = tmp_path / "run.kms"
    with short_segments(4):
        worker = Worker(CONFIG, 4)
        for _ in range(30):
            worker.act()
        save_tree(path, worker.tree, Origin(), worker.bookmarks)
        opened = open_recording(path)
        for _ in range(3):
            for _ in range(10):
                worker.act()
            append_tree(path, worker.tree, Origin(), worker.bookmarks)
            opened.follow()
            assert truth_of(opened.tree) == truth_of(worker.tree)
