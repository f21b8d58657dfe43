"""What is unsaved work: inputs, branches, names; to look is none."""

from __future__ import annotations

from pathlib import Path

from snapshots.bookmarks import Bookmark
from snapshots.origin import Origin
from snapshots.recording import open_recording, save_tree
from snapshots.timeline import NO_LIMIT
from snapshots.unsaved import SavedState
from tests.snapshots.acted_tree import Worker
from tests.snapshots.conftest import small_config

CONFIG = small_config(cpus=2)
ALLOC = ("pcpu_alloc", 0, (64, 8, False, 0xCC0, "here"))


def begun() -> tuple[Worker, SavedState]:
    worker = Worker(CONFIG, 1)
    for _ in range(3):
        worker.timeline.give(*ALLOC)
        worker.timeline.advance(NO_LIMIT)
    return worker, SavedState.of(worker.tree, worker.bookmarks)


def test_looking_is_no_work() -> None:
    worker, saved = begun()
    worker.timeline.seek(2)
    assert not saved.is_unsaved(worker.tree, {})


def test_inputs_are_counted_on_all_branches() -> None:
    worker, saved = begun()
    worker.timeline.give(*ALLOC)
    worker.timeline.advance(NO_LIMIT)
    worker.timeline.seek(worker.timeline.input_at(2).step)
    worker.tree.fork().timeline.give(*ALLOC)
    assert saved.nr_unsaved(worker.tree) == 2
    assert saved.is_unsaved(worker.tree, {})


def test_a_name_is_work_and_so_is_a_bookmark() -> None:
    worker, saved = begun()
    assert saved.is_unsaved(worker.tree, {"a": Bookmark("a", 0, 1)})
    worker.tree.rename(worker.tree.current, "other")
    assert saved.is_unsaved(worker.tree, {})
    assert saved.nr_unsaved(worker.tree) == 0


def test_reading_a_branch_from_a_file_is_no_work(tmp_path: Path) -> None:
    worker, _ = begun()
    worker.timeline.seek(2)
    worker.tree.fork().timeline.give(*ALLOC)
    save_tree(tmp_path / "run.kms", worker.tree, Origin())
    tree = open_recording(tmp_path / "run.kms").tree
    saved = SavedState.of(tree, {})
    timeline = tree.branches[1].timeline
    assert not saved.is_unsaved(tree, {})
    timeline.seek(NO_LIMIT)
    timeline.give(*ALLOC)
    assert saved.nr_unsaved(tree) == 1
