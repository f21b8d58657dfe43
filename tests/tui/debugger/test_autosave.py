"""Autosave: a session that dies is there again; one that cannot be written down goes on all the same."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel_sim.config import MachineConfig
from snapshots import timeline as timeline_module
from snapshots.errors import RecordingError
from tui.debugger.autosave import Autosave, attach, offers, reopen, state_folder
from tui.debugger.console import answer_now, execute
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session
from tui.verbs.door import open_session

ROOT = Path(__file__).parents[3]
MACHINE = ROOT / "examples" / "machines" / "numa2-4cpu.toml"
DEMO = ROOT / "examples" / "demo.kms"
WORK = (
    "alloc 0 64", "alloc 1 128", "bookmark first why", "alloc 2 256", "back 9", "alloc 3 4096",
    "rename-branch other", "alloc 0 8", "branch main", "goto 50%",
)  # fmt: skip


def carry_out(session: Session, *lines: str) -> Output:
    output = Output()
    for line in lines:
        output = asyncio.run(execute(session, line))
    return output


def seen(session: Session) -> dict[str, object]:
    tree = session.tree
    return {
        "step": session.step, "branch": tree.current.name, "digest": session.digest(),
        "bookmarks": session.bookmarks,
        "branches": [
            (each.name, each.parent, each.fork_step, each.note, each.end_step)
            for each in tree.branches.values()
        ],
    }  # fmt: skip


@pytest.fixture
def session() -> Session:
    config = MachineConfig.from_mapping(tomllib.loads(MACHINE.read_text()), where="x")
    return Session.boot(config)


@contextmanager
def file_size_limit(nr_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nr_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_state_folder_is_the_tests_own(own_state_folder: Path) -> None:
    assert state_folder().path == own_state_folder / "autosave"


@pytest.mark.parametrize("source", [None, DEMO])
def test_a_session_that_died_is_reopened_where_it_stood(source: Path | None) -> None:
    session = open_session(source, warn=False)
    autosave = attach(session, source or MACHINE)
    carry_out(session, *WORK)
    wanted = seen(session)
    autosave.leave()
    (row,) = offers()
    assert row.place is not None and row.place.nr_unsaved == 5
    again = reopen(row)
    assert seen(again) == wanted
    assert again.path == source
    assert again.autosave is not None and again.autosave.is_unsaved
    assert offers() == []  # it lives again
    carry_out(again, "alloc 0 16")
    wanted = seen(again)
    again.autosave.leave()
    assert seen(reopen(offers()[0])) == wanted


def test_who_only_looked_is_brought_back_to_the_step() -> None:
    session = open_session(DEMO, warn=False)
    autosave = attach(session, DEMO)
    carry_out(session, "goto 30%", "chunks", "step")
    assert autosave.journal is not None and autosave.journal.path.stat().st_size < 1000
    wanted = seen(session)
    autosave.leave()
    again = reopen(offers()[0])
    assert seen(again) == wanted
    assert again.autosave is not None and not again.autosave.is_unsaved
    assert again.autosave.end() == ""


def test_a_looker_whose_file_is_gone_is_told(tmp_path: Path) -> None:
    source = tmp_path / "run.kms"
    shutil.copy(DEMO, source)
    session = open_session(source, warn=False)
    autosave = attach(session, source)
    carry_out(session, "goto 5")
    autosave.leave()
    source.unlink()
    with pytest.raises(Exception, match=r"run\.kms: no such file"):
        reopen(offers()[0])
    assert len(offers()) == 1


def test_a_dead_session_does_not_take_back_what_was_saved_to_its_file_since(tmp_path: Path) -> None:
    path = tmp_path / "run.kms"
    shutil.copy(DEMO, path)
    dies = open_session(path)
    attach(dies, path)
    carry_out(dies, "bookmark mine", "save", "bookmark mine_too")
    assert dies.autosave is not None
    dies.autosave.leave()
    session = reopen(offers()[0])
    carry_out(session, "save")
    session.autosave.leave()  # type: ignore[union-attr]
    other = open_session(path)
    carry_out(other, "bookmark theirs", "save")
    session = reopen(offers()[0])
    carry_out(session, "bookmark again")
    with pytest.raises(CommandError, match="somebody else has saved to this file"):
        carry_out(session, "save")
    session.autosave.leave()  # type: ignore[union-attr]
    assert set(open_session(path).bookmarks) >= {"mine", "mine_too", "theirs"}


def test_a_dead_session_is_reopened_once(session: Session) -> None:
    autosave = attach(session)
    carry_out(session, *WORK)
    autosave.leave()
    row = offers()[0]
    first = reopen(row)
    with pytest.raises(RecordingError, match="another writer"):
        reopen(row)
    assert first.autosave is not None
    first.autosave.end()


def test_who_ends_in_good_order_leaves_nothing(session: Session) -> None:
    autosave = attach(session)
    carry_out(session, "goto 0")
    assert autosave.end() == ""
    assert list(state_folder().path.iterdir()) == []


def test_unsaved_work_is_kept_and_told(session: Session) -> None:
    autosave = attach(session)
    carry_out(session, "alloc 0 64")
    assert "1 input" in (said := autosave.end()) and "kmemscope recover" in said
    assert len(offers()) == 1


def test_saved_work_is_not_kept(session: Session, tmp_path: Path) -> None:
    autosave = attach(session)
    carry_out(session, "alloc 0 64", f"save {tmp_path / 'run.kms'}")
    assert not autosave.is_unsaved
    assert autosave.end() == ""
    assert offers() == []


def test_a_state_folder_that_takes_nothing_is_told_once_and_disturbs_nobody(
    session: Session, monkeypatch: pytest.MonkeyPatch, own_state_folder: Path
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    attach(session)
    monkeypatch.setattr(Path, "mkdir", read_only)
    assert carry_out(session, "goto 0").lines[-1:] != ("autosave",)
    said = [answer_now(session, f"alloc 0 {size}")[0] for size in (64, 128, 256)]
    assert "autosave has stopped" in said[0] and "Read-only file system" in said[0]
    assert "save with `save FILE.kms`" in said[0]
    assert not any("autosave" in text for text in said[1:])
    assert session.timeline.nr_inputs == 3


def test_a_full_disk_is_told_once_and_what_was_noted_is_there(session: Session) -> None:
    autosave = attach(session)
    carry_out(session, "alloc 0 64")
    assert autosave.journal is not None
    nr_bytes = autosave.journal.path.stat().st_size
    with file_size_limit(nr_bytes + 700):
        said = [answer_now(session, "alloc 0 64")[0] for _ in range(30)]
    told = [text for text in said if "autosave" in text]
    assert len(told) == 1 and "File too large" in told[0]
    assert session.timeline.nr_inputs == 31
    again = reopen(offers()[0])
    assert 1 <= again.timeline.nr_inputs < 31


def test_a_defect_of_autosave_does_not_cost_the_session(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Autosave) -> None:
        raise ZeroDivisionError("a defect")

    attach(session)
    monkeypatch.setattr(Autosave, "place", broken)
    assert carry_out(session, "alloc 0 64").ok
    assert session.timeline.nr_inputs == 1


def test_a_note_takes_little_time(session: Session) -> None:
    autosave = attach(session)
    carry_out(session, "alloc 0 64")
    took_s = []
    for _ in range(40):
        carry_out(session, "alloc 0 64")
        began = time.perf_counter()
        autosave.note_now()
        took_s.append(time.perf_counter() - began)
    assert sorted(took_s)[20] < 0.002


def test_a_command_that_fails_is_noted_too(session: Session) -> None:
    autosave = attach(session)
    carry_out(session, "alloc 0 64")
    session.timeline.give("pcpu_alloc", 0, (8, 8, False, 0xCC0, "here"))
    with pytest.raises(Exception, match="no command"):
        carry_out(session, "nonsense")
    autosave.leave()
    assert reopen(offers()[0]).timeline.nr_inputs == 2


def test_what_is_done_while_a_note_is_under_way_is_noted_too(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    autosave = attach(session)
    noting = autosave._noting

    def with_a_slice_behind() -> Iterator[None]:
        yield from noting()
        yield  # as for a branch that is written behind the one on which somebody acts

    monkeypatch.setattr(autosave, "_noting", with_a_slice_behind)

    async def act() -> None:
        session.give(0, "pcpu_alloc", 64, 8, False, 0xCC0, "here")
        work = asyncio.create_task(autosave.note())
        while autosave.journal is None or autosave.journal.place is None:
            await asyncio.sleep(0)
        session.give(0, "pcpu_alloc", 64, 8, False, 0xCC0, "here")
        await autosave.note()
        await work

    asyncio.run(asyncio.wait_for(act(), 30))
    autosave.leave()
    assert reopen(offers()[0]).timeline.nr_inputs == session.timeline.nr_inputs == 2


def test_no_slice_of_taking_up_a_recording_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_module, "KEYFRAME_EVERY_INPUTS", 50)
    session = open_session(DEMO, warn=False)
    attach(session, DEMO)
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        autosave = session.autosave
        assert autosave is not None
        session.go_now(session.end_step)
        session.give(0, "pcpu_alloc", 64, 8, False, 0xCC0, "here")
        work = asyncio.create_task(autosave.note())
        while not work.done():
            began = time.perf_counter()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.perf_counter() - began)

    asyncio.run(watch())
    assert longest_s < 0.25  # the aim is 0.05; a busy machine takes longer
