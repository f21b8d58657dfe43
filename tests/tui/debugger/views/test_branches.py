from __future__ import annotations

from snapshots.bookmarks import Bookmark
from tests.tui.debugger.views.conftest import column
from tui.debugger.session import Session
from tui.debugger.views.branches import bookmarks_view, branches_view


def test_a_run_without_branches_has_one(session: Session) -> None:
    table = branches_view(session)
    assert table.title == "1 branch"
    assert table.rows == ((True, "main", 0, None, None, 0, None),)


def test_branches_stand_below_those_from_which_they_go_off(busy: Session, tell) -> None:
    end = busy.end_step
    tell("goto 30", "alloc 0 64")
    tell("goto 10", "alloc 0 128")  # said on b1, but up to 30 its moments are main's
    tell("branch b1", "goto 32", "alloc 1 64", "rename-branch other")
    table = branches_view(busy)
    assert table.title == "4 branches"
    assert column(table, "branch") == ["main", "  b2", "  b1", "    other"]
    assert column(table, "here") == [False, False, False, True]
    assert column(table, "from") == [None, "main", "main", "b1"]
    assert column(table, "step") == [None, 10, 30, 32]
    assert column(table, "number") == [0, 2, 1, 3]
    assert column(table, "end")[0] == end
    assert column(table, "what")[2] == "pcpu_alloc on cpu 0"


def test_bookmarks_are_listed_by_branch_and_step(busy: Session, tell) -> None:
    assert bookmarks_view(busy).rows == ()
    tell("goto 20", "bookmark late", "goto 5", "bookmark early why not", "alloc 0 8")
    tell("bookmark new")
    table = bookmarks_view(busy)
    assert table.title == "3 bookmarks"
    assert column(table, "name") == ["@early", "@late", "@new"]
    assert column(table, "branch") == ["main", "main", "b1"]
    assert column(table, "note") == ["why not", None, None]


def test_a_bookmark_of_a_lost_branch_is_listed_too(session: Session) -> None:
    session.bookmarks["far"] = Bookmark("far", 77, 5)
    assert column(bookmarks_view(session), "branch") == ["77 (lost)"]
