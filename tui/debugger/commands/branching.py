"""Branches, bookmarks and places: where one was, and what else could have been.

History is read-only: acting in the past begins a branch, and what came after stays with the old one.
"""

from __future__ import annotations

from collections.abc import Iterable

from tui.debugger.commands.registry import TEXT, Argument, Command, Kind, Seat
from tui.debugger.commands.stepping import where
from tui.debugger.output import Output
from tui.debugger.session import Session
from tui.debugger.views.branches import bookmarks_view, branches_view

GROUP = "names and branches"


def _read_branch(session: Session, word: str) -> int:
    return session.tree.named(word).number


def _offer_branches(session: Session) -> Iterable[str]:
    return (branch.name for branch in session.tree.branches.values())


def _offer_bookmarks(session: Session) -> Iterable[str]:
    return session.bookmarks


BRANCH = Kind(_read_branch, _offer_branches)


async def branches(seat: Seat) -> Output:
    """List all branches as a tree."""
    return Output(table=branches_view(seat.session))


async def branch(seat: Seat, number: int) -> Output:
    """Stand on another branch."""
    session = seat.session
    await session.switch(session.tree.branches[number], progress=seat.progress)
    return where(session, f"on branch {session.tree.current.name}")


async def rename_branch(seat: Seat, *words: str) -> Output:
    """Give the present branch another name."""
    tree = seat.session.tree
    before = tree.current.name
    tree.rename(tree.current, words[0])
    return Output((f"branch {before} is now {words[0]}",), branches_view(seat.session))


async def bookmark(seat: Seat, name: str = "", *words: str) -> Output:
    """Give the present step a name and perhaps a note, or list all names."""
    session = seat.session
    if not name:
        return Output(table=bookmarks_view(session))
    mark = session.bookmark(name, " ".join(words) if words else None)
    said = f"@{mark.name} is step {mark.step}" + (f": {mark.note}" if mark.note else "")
    return Output((said,), bookmarks_view(session))


async def forget(seat: Seat, name: str) -> Output:
    """Take a bookmark back."""
    seat.session.forget_bookmark(name.removeprefix("@"))
    return Output((f"@{name.removeprefix('@')} is forgotten",), bookmarks_view(seat.session))


async def place(seat: Seat) -> Output:
    """Say where the session stands as one string, for somebody else to open."""
    return Output((str(seat.session.place()),))


COMMANDS = (
    Command("place", (), GROUP, (), "this position as one string, for somebody else to open", place),
    Command("branches", ("tree",), GROUP, (), "all branches as a tree", branches),
    Command(
        "branch", ("br",), GROUP, (Argument("BRANCH", BRANCH),),
        "stand on another branch, at the same step where the two are still one", branch,
    ),
    Command(
        "rename-branch", (), GROUP, (Argument("NAME", TEXT),),
        "give the branch on which you stand another name", rename_branch,
    ),
    Command(
        "bookmark", ("bm",), GROUP,
        (Argument("NAME", TEXT, optional=True), Argument("NOTE", TEXT, optional=True, many=True)),
        "name the present step, for goto @NAME, with a note; or list the names", bookmark,
    ),
    Command(
        "forget", (), GROUP, (Argument("NAME", Kind(TEXT.read, _offer_bookmarks)),),
        "take a bookmark back", forget,
    ),
)  # fmt: skip
