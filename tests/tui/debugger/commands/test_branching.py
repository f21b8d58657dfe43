from __future__ import annotations

import asyncio

import pytest

from kernel_sim.errors import KernelSimError
from snapshots.bookmarks import BOOKMARKS_MAX, Bookmark
from snapshots.opening import open_any
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_a_bookmark_is_a_name_for_a_step(busy: Session, tell) -> None:
    tell("goto 3", "bookmark here", "goto end", "bookmark last")
    assert tell("bookmark").table.rows == (
        (3, "@here", "main", None), (busy.end_step, "@last", "main", None),
    )  # fmt: skip
    tell("goto @here")
    assert busy.step == 3
    tell("goto 5", "bookmark here")
    assert busy.bookmarks["here"].step == 5


@pytest.mark.parametrize("name", ["1st", "a b", "-x", "ä", "x" * 65])
def test_a_bookmark_must_have_a_plain_name(session: Session, tell, name: str) -> None:
    with pytest.raises(CommandError, match="expected a letter"):
        tell(f"bookmark '{name}'")
    assert session.bookmarks == {}


def test_bookmarks_have_an_end_but_can_be_moved_then_too(session: Session, tell) -> None:
    session.bookmarks = {
        f"b{number}": Bookmark(f"b{number}", 0, 7) for number in range(BOOKMARKS_MAX)
    }
    with pytest.raises(CommandError, match="already"):
        tell("bookmark one_more")
    tell("bookmark b0")
    assert session.bookmarks["b0"].step == 0


def test_a_note_stays_until_another_is_given(busy: Session, tell) -> None:
    tell("goto 3", "bookmark here look at this", "goto 5", "bookmark here")
    assert busy.bookmarks["here"].note == "look at this"
    tell("bookmark here better")
    assert busy.bookmarks["here"].note == "better"
    with pytest.raises(CommandError, match="characters that print"):
        tell(f"bookmark here {'x' * 5000}")


def test_a_bookmark_can_be_taken_back(busy: Session, tell) -> None:
    tell("goto 3", "bookmark here", "forget @here")
    assert busy.bookmarks == {}
    with pytest.raises(CommandError, match="no bookmark"):
        tell("forget here")


def test_a_moment_near_a_bookmark_is_kept(busy: Session, tell) -> None:
    tell("goto 3", "bookmark here", "bookmark there")
    assert list(busy.timeline.moments.pinned) == [3]
    tell("forget here")
    assert list(busy.timeline.moments.pinned) == [3], "there is there, too"
    tell("forget there")
    assert list(busy.timeline.moments.pinned) == []


def test_a_branch_is_stood_on_where_the_two_are_still_one(busy: Session, tell) -> None:
    tell("goto 30", "alloc 0 64")
    assert busy.tree.current.name == "b1"
    digest_at_end = busy.digest()
    tell("goto 12")
    tell("branch main")
    assert (busy.tree.current.name, busy.step) == ("main", 12)
    tell("goto 40", "branch b1")
    assert (busy.tree.current.name, busy.step) == ("b1", 30), "40 of main is no moment of b1"
    tell("goto end")
    assert busy.digest() == digest_at_end
    tell("br 0")
    assert busy.tree.current.name == "main"


def test_what_was_done_in_the_past_leaves_the_old_branch_as_it_was(busy: Session, tell) -> None:
    end, digest = busy.end_step, busy.digest()
    for step in (5, 9, 17):
        tell("branch main", f"goto {step}", "alloc 0 4000")
    tell("branch main", "goto end")
    assert (busy.step, busy.digest()) == (end, digest)
    assert len(busy.tree.branches) == 4


@pytest.mark.parametrize("line", ["branch", "branch none", "branch 9", "branch -1", "branch b1 b2"])
def test_a_branch_that_is_not_there_is_refused(busy: Session, tell, line: str) -> None:
    with pytest.raises(KernelSimError):
        tell(line)
    assert busy.tree.current.name == "main"


@pytest.mark.parametrize("name", ["1st", "a/b", "", "x" * 65, "main"])
def test_a_branch_must_have_a_plain_name_of_its_own(busy: Session, tell, name: str) -> None:
    tell("goto 5", "alloc 0 64")
    with pytest.raises(KernelSimError):
        tell(f"rename-branch '{name}'")
    assert busy.tree.current.name == "b1"


def test_a_bookmark_is_gone_to_on_a_branch_that_has_it(busy: Session, tell) -> None:
    tell("goto 20", "alloc 0 64", "bookmark mine", "goto 10", "bookmark both", "branch main")
    tell("goto 15", "goto @both")
    assert busy.step == 10
    tell("goto @mine")
    mark = busy.bookmarks["mine"]
    assert busy.step == mark.step
    assert busy.tree.holds(busy.tree.current, mark.branch, mark.step)


def test_branches_and_bookmarks_are_saved_and_opened_again(busy: Session, tell, tmp_path) -> None:
    tell("goto 20", "alloc 0 64", "rename-branch mine", "bookmark here a note")
    digest, step = busy.digest(), busy.step
    tell(f"save {tmp_path / 'run.kms'}")
    opened = open_any(tmp_path / "run.kms")
    session = Session(opened.tree, opened.origin)
    assert opened.bookmarks == busy.bookmarks
    for line in ("branch mine", f"goto {step}"):
        asyncio.run(execute(session, line))
    assert (session.step, session.digest()) == (step, digest)
