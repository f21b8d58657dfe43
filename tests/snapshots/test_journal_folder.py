"""The folder of journals: who lives, who is dead, what may go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snapshots import journal_folder
from snapshots.errors import RecordingError
from snapshots.journal import Place
from snapshots.journal_folder import KEPT_UNSAVED_S, JournalFolder
from snapshots.origin import Origin
from tests.snapshots.acted_tree import Worker
from tests.snapshots.conftest import small_config

CONFIG = small_config(cpus=2)
NOW_S = 2_000_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> JournalFolder:
    return JournalFolder(tmp_path / "state" / "autosave")


def died(
    folder: JournalFolder, source: str, age_s: float, *, unsaved: bool, nr_acts: int = 0
) -> Path:
    worker, journal = Worker(CONFIG, 1), folder.begin(source)
    worker.is_unsaved = unsaved
    for _ in range(nr_acts):
        worker.act()
    journal.note(worker.tree, Origin(), {}, worker.place())
    journal.writer.leave()
    os.utime(journal.path, (NOW_S - age_s, NOW_S - age_s))
    return journal.path


def test_a_folder_that_is_not_there_holds_nothing(folder: JournalFolder) -> None:
    assert folder.dead() == []
    assert folder.prune() == []


def test_the_dead_are_listed_newest_first_and_the_living_are_not(folder: JournalFolder) -> None:
    old, new = (died(folder, f"/x/{age}.kms", age, unsaved=True, nr_acts=9) for age in (50, 5))
    living = folder.begin("living")
    assert [row.path for row in folder.dead()] == [new, old]
    assert folder.dead()[0].place is not None
    assert living.path.exists()
    living.remove()


def test_names_sort_by_time_and_tell_the_source(folder: JournalFolder) -> None:
    journal = folder.begin("/some where/my bug?.kms")
    assert journal.path.name.split("-", 2)[2] == f"my-bug--{os.getpid()}.kms"
    again = folder.begin("/some where/my bug?.kms")
    assert again.path != journal.path
    journal.remove()
    again.remove()
    assert oct(folder.path.stat().st_mode & 0o777) == "0o700"


def test_the_newest_place_is_found_without_reading_the_file(
    folder: JournalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(folder, "run", 1, unsaved=True, nr_acts=30)
    wanted = folder.dead()
    monkeypatch.setattr(journal_folder, "RecordingReader", None)
    assert folder.dead() == wanted
    assert isinstance(wanted[0].place, Place)


def test_a_place_far_from_the_end_is_found_too(
    folder: JournalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(folder, "run", 1, unsaved=True, nr_acts=30)
    wanted = folder.dead()
    monkeypatch.setattr(journal_folder, "LOOKED_AT_BYTES", 10)
    assert folder.dead() == wanted


def test_what_is_no_journal_is_not_listed(folder: JournalFolder) -> None:
    died(folder, "run", 1, unsaved=True)
    (folder.path / "1-garbage.kms").write_bytes(b"no recording")
    (folder.path / "notes.txt").write_text("mine")
    assert len(folder.dead()) == 1


def test_a_link_is_no_journal_it_may_lead_to_a_file_of_the_users(
    folder: JournalFolder, tmp_path: Path
) -> None:
    own = tmp_path / "own.kms"
    journal = died(folder, "a.kms", 5, unsaved=True, nr_acts=3)
    assert len(folder.dead()) == 1
    journal.rename(own)
    journal.symlink_to(own)
    assert folder.dead() == []


def test_too_many_go_oldest_first_but_no_unsaved_work_of_this_month(
    folder: JournalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_folder, "DEAD_MAX", 2)
    day_s = 86400
    monkeypatch.setattr(JournalFolder, "prune", lambda self, now_s=None: [])
    ancient = died(folder, "ancient", KEPT_UNSAVED_S + day_s, unsaved=True)
    work = died(folder, "work", 20 * day_s, unsaved=True)
    looked = [died(folder, f"looked{age}", age * day_s, unsaved=False) for age in (9, 8, 1)]
    monkeypatch.undo()
    monkeypatch.setattr(journal_folder, "DEAD_MAX", 2)
    gone = folder.prune(NOW_S)
    assert gone == [ancient, *looked[:2]]
    assert work.exists() and looked[2].exists()


def test_who_is_reopened_meanwhile_is_not_discarded(folder: JournalFolder) -> None:
    from snapshots.container.recording_file import RecordingWriter

    path = died(folder, "run", 1, unsaved=True, nr_acts=5)
    row = folder.dead()[0]
    writer = RecordingWriter.reopen(path)
    with pytest.raises(RecordingError, match="another writer"):
        folder.discard(row)
    assert path.exists()
    writer.leave()
    folder.discard(row)
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="there is no autosave"):
        JournalFolder(tmp_path / "file" / "autosave").begin("run")
