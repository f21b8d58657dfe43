"""Files, bookmarks, and the check of the machine against first principles."""

from __future__ import annotations

import re

from kernel_sim.errors import InvariantBroken
from tui.debugger.commands.registry import TEXT, Argument, Command, Seat, one_of
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.table import DEC, Column, Table

GROUP = "files"
FORCE = "force"
BOOKMARK = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
BOOKMARKS_MAX = 1000


async def save(seat: Seat, path: str, *words: str) -> Output:
    """Write the whole run to a file."""
    session = seat.session
    try:
        session.save(path, overwrite=FORCE in words)
    except (OSError, ValueError) as problem:
        raise CommandError(f"save: {path}: {problem}") from problem
    return Output((f"saved {session.end_step} steps to {path}",))


async def bookmark(seat: Seat, name: str = "") -> Output:
    """Give the present step a name, or list all names."""
    session = seat.session
    if name:
        if not BOOKMARK.fullmatch(name):
            raise CommandError(f"{name!r}: expected a letter, then letters, digits, _ . or -")
        if len(session.bookmarks) >= BOOKMARKS_MAX and name not in session.bookmarks:
            raise CommandError(f"there are {BOOKMARKS_MAX} bookmarks already")
        session.bookmarks[name] = session.step
    rows = tuple(sorted((at, f"@{each}") for each, at in session.bookmarks.items()))
    table = Table(f"{len(rows)} bookmarks", (Column("step", DEC), Column("name")), rows)
    return Output((f"@{name} is step {session.step}",) if name else (), table)


async def check(seat: Seat) -> Output:
    """Recompute everything slowly and name the first thing that disagrees."""
    from kernel_sim.check import check_machine  # slow to load, and rarely asked for

    session = seat.session
    try:
        check_machine(session.machine)
    except InvariantBroken as problem:
        return Output((f"step {session.step}: {problem}",), ok=False)
    return Output((f"step {session.step}: all is as it should be",))


COMMANDS = (
    Command(
        "save", (), GROUP,
        (Argument("PATH", TEXT), Argument(FORCE, one_of(FORCE), optional=True)),
        "write the run to a recording; force replaces a file", save,
    ),
    Command(
        "bookmark", ("bm",), GROUP, (Argument("NAME", TEXT, optional=True),),
        "name the present step, for goto @NAME; or list the names", bookmark,
    ),
    Command("check", (), "looking", (), "check the machine against first principles", check),
)  # fmt: skip
