"""What a file holds is found out, and only what is new is appended."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from snapshots.container.record_places import drained
from snapshots.container.recording_file import RecordingReader, RecordingWriter
from snapshots.errors import InputRefused
from snapshots.keyframes import KeyframeEncoder
from snapshots.origin import Origin
from snapshots.recording import about_branch, header_of, open_recording, save_tree
from snapshots.recording_append import append_tree
from snapshots.recording_growth import Held, TreeGrowth, held_by
from snapshots.recording_sink import NEW, RecordingSink
from snapshots.timeline import NO_LIMIT
from tests.snapshots.acted_tree import Worker, truth_of
from tests.snapshots.conftest import short_segments, small_config

CONFIG = small_config(cpus=2)
ALLOC = ("pcpu_alloc", 0, (64, 8, False, 0xCC0, "here"))


def held_in(path: Path) -> Held:
    writer = RecordingWriter.reopen(path)
    try:
        with RecordingReader.open(path) as reader:
            return drained(held_by(reader, writer))
    finally:
        writer.leave()


def kinds_behind(path: Path, nr_before: int) -> list[str]:
    with RecordingReader.open(path) as reader:
        return [entry.kind for entry in reader.records()][nr_before:]


def test_what_was_saved_is_held_to_the_last_input(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    with short_segments(3):
        worker = Worker(CONFIG, 5)
        for _ in range(40):
            worker.act()
        save_tree(path, worker.tree, Origin(), worker.bookmarks)
        held = held_in(path)
    assert held.bookmarks == worker.bookmarks
    for number, branch in worker.tree.branches.items():
        timeline, found = branch.timeline, held.branches[number]
        assert (found.name, found.end_step, found.is_ended) == (
            branch.name,
            timeline.end_step,
            True,
        )
        assert (found.nr_keyframes, found.open_number) == (
            len(timeline.heads),
            len(timeline.heads) - 1,
        )
        assert found.inputs == timeline.open_body.inputs
    assert not TreeGrowth(RecordingWriter.reopen(path), held).is_behind(
        worker.tree, worker.bookmarks
    )


def test_an_input_is_one_small_record(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    worker = Worker(CONFIG, 5)
    worker.timeline.give(*ALLOC)
    worker.timeline.advance(NO_LIMIT)
    save_tree(path, worker.tree, Origin())
    opened = open_recording(path)
    nr_before = len(opened.reader)
    timeline = opened.timeline
    timeline.seek(NO_LIMIT)
    writer = RecordingWriter.reopen(path)
    growth = TreeGrowth(writer, drained(held_by(opened.reader, writer)))
    for nr_given in range(1, 4):
        timeline.give(*ALLOC)
        timeline.advance(NO_LIMIT)
        nr_bytes = path.stat().st_size
        for _ in growth.grow(opened.tree, Origin(), {}):
            pass
        assert kinds_behind(path, nr_before) == ["tail"] * nr_given
        assert path.stat().st_size - nr_bytes < 150
    writer.leave()


def test_an_input_that_a_segment_holds_and_the_machine_refused_is_taken_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.kms"
    worker = Worker(CONFIG, 5)
    worker.timeline.give(*ALLOC)
    worker.timeline.advance(NO_LIMIT)
    worker.timeline.give("purge_vmap", 99)  # waits
    save_tree(path, worker.tree, Origin())
    writer = RecordingWriter.reopen(path)
    with RecordingReader.open(path) as reader:
        growth = TreeGrowth(writer, drained(held_by(reader, writer)))
    worker.advance(NO_LIMIT)
    worker.timeline.give(*ALLOC)
    for _ in growth.grow(worker.tree, Origin(), {}):
        pass
    writer.leave()
    opened = open_recording(path)
    assert truth_of(opened.tree)[0]["inputs"] == truth_of(worker.tree)[0]["inputs"]


def test_no_cut_loses_inputs_that_wait_while_their_segment_is_closed(tmp_path: Path) -> None:
    path, cut = tmp_path / "run.kms", tmp_path / "cut.kms"
    with short_segments(3):
        worker = Worker(CONFIG, 5)
        worker.timeline.give(*ALLOC)
        worker.timeline.advance(NO_LIMIT)
        worker.timeline.give(*ALLOC)  # waits, and is saved in the open segment
        save_tree(path, worker.tree, Origin())
        opened = open_recording(path)
        timeline = opened.timeline
        timeline.seek(NO_LIMIT)
        writer = RecordingWriter.reopen(path)
        growth = TreeGrowth(writer, drained(held_by(opened.reader, writer)))
        timeline.give(*ALLOC)
        for _ in growth.grow(opened.tree, Origin(), {}):
            pass
        noted_bytes = path.stat().st_size
        timeline.give(*ALLOC)  # closes the segment without what waits
        assert len(timeline.heads) == 2
        for _ in growth.grow(opened.tree, Origin(), {}):
            pass
        writer.leave()
        data = path.read_bytes()
        for end in range(noted_bytes, len(data) + 1):
            cut.write_bytes(data[:end])
            assert open_recording(cut).timeline.nr_inputs >= 3, f"byte {end}"


def test_a_branch_that_was_only_begun_is_passed_over_and_its_number_used_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.kms"
    with short_segments(3):
        worker = Worker(CONFIG, 5)
        for _ in range(12):
            worker.timeline.give(*ALLOC)
            worker.timeline.advance(NO_LIMIT)
        save_tree(path, worker.tree, Origin())
        late = worker.timeline.heads[2].first_step + 1
        worker.timeline.seek(late)
        worker.tree.fork("late")
        with RecordingWriter.reopen(path) as writer:  # killed behind the branch's first keyframe
            sink = RecordingSink(writer, 1)
            sink.tell(about_branch(worker.tree.current) or {}, late, NEW)
            parts = worker.timeline.keyframe_parts(2)
            sink.keyframe(2, worker.timeline.heads[2].first_step, KeyframeEncoder().encode(parts))
        opened = open_recording(path)
        assert list(opened.tree.branches) == [0]
        assert "branch 1 was only begun" in opened.warnings[0]
        opened.timeline.seek(2)
        opened.tree.fork("early").timeline.give(*ALLOC)
        append_tree(path, opened.tree, Origin())
        again = open_recording(path)
        assert again.warnings == []
        assert truth_of(again.tree) == truth_of(opened.tree)


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_who_acts_between_two_slices_spoils_nothing(
    tmp_path: Path, seed: int, is_whole: bool
) -> None:
    path = tmp_path / "run.kms"
    with short_segments(2):
        worker = Worker(CONFIG, seed)
        for _ in range(12):
            worker.act()
        growth = TreeGrowth(RecordingWriter.create(path, header_of(CONFIG)))
        nr_left = 40
        for write in (growth.finish if is_whole else growth.grow, growth.grow, growth.grow):
            for _ in write(worker.tree, Origin(), worker.bookmarks):
                for _ in range(min(nr_left, 2)):
                    with suppress(InputRefused):
                        worker.act()
                    nr_left -= 1
            open_recording(path).reader.close()
        growth.writer.leave()
        opened = open_recording(path)
        assert truth_of(opened.tree) == truth_of(worker.tree)
        opened.reader.close()
