"""Branches as a tree, and bookmarks."""

from __future__ import annotations

from snapshots.branches import BranchTree
from tui.debugger.session import Session
from tui.debugger.table import DEC, FLAG, Column, Table, count

BRANCH_COLUMNS = (
    Column("here", FLAG, "where the session stands"),
    Column("branch", help="indented below the branch from which it goes off"),
    Column("number", DEC),
    Column("from", help="the branch from which it goes off"),
    Column("step", DEC, "at which it goes off"),
    Column("end", DEC, "its newest step"),
    Column("what", help="what was done or changed there"),
)
BOOKMARK_COLUMNS = (
    Column("step", DEC),
    Column("name"),
    Column("branch"),
    Column("note"),
)
INDENT = "  "


def branches_view(session: Session) -> Table:
    """Return all branches, parents before their children."""
    tree = session.tree
    rows = tuple(
        (
            branch is tree.current, f"{INDENT * depth}{branch.name}", branch.number,
            None if branch.parent is None else tree.branches[branch.parent].name,
            None if branch.parent is None else branch.fork_step, branch.end_step, branch.note or None,
        )
        for depth, branch in tree.walk()
    )  # fmt: skip
    return Table(f"{len(rows)} branch{'' if len(rows) == 1 else 'es'}", BRANCH_COLUMNS, rows)


def bookmarks_view(session: Session) -> Table:
    """Return all bookmarks by branch and step."""
    tree = session.tree
    marks = sorted(session.bookmarks.values(), key=lambda mark: (mark.branch, mark.step, mark.name))
    rows = tuple(
        (mark.step, f"@{mark.name}", _name_of(tree, mark.branch), mark.note or None)
        for mark in marks
    )
    return Table(count(len(rows), "bookmark"), BOOKMARK_COLUMNS, rows)


def _name_of(tree: BranchTree, number: int) -> str:
    """Return a branch's name; a damaged file may name one that is lost."""
    branch = tree.branches.get(number)
    return f"{number} (lost)" if branch is None else branch.name
