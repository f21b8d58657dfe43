"""Files, and the check of the machine against first principles."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kernel_sim.errors import InvariantBroken
from tui.debugger.commands.registry import TEXT, Argument, Command, Seat, one_of
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session

GROUP = "files"
FORCE = "force"
FORCE_HINT = f"{FORCE} behind it replaces a file that is there"


async def save(seat: Seat, path: str = "", *words: str) -> Output:
    """Save to the recording one came from, or the whole run to another file."""
    session = seat.session
    force = FORCE in words
    if not force and is_there(session, path):
        raise CommandError(f"save: {path}: the file exists already; {FORCE_HINT}")
    try:
        saving = session.saving(path, overwrite=force, whole=force)
        while True:
            try:
                next(saving)
            except StopIteration as ended:
                return Output((f"saved {session.end_step} steps to {ended.value}",))
            await asyncio.sleep(0)
    except (OSError, ValueError) as problem:
        raise CommandError(f"save: {path}: {problem}") from problem


def is_there(session: Session, path: str) -> bool:
    """Say whether a file of that name is there that is not the session's own, which only grows."""
    own = session.path
    try:
        return bool(path) and Path(path).exists() and not (own and Path(path).samefile(own))
    except (OSError, ValueError):
        return False  # who writes it says what is wrong


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
        (Argument("PATH", TEXT, optional=True), Argument(FORCE, one_of(FORCE), optional=True)),
        "save to the recording one came from, or the run to a file; force replaces it", save,
    ),
    Command("check", (), "looking", (), "check the machine against first principles", check),
)  # fmt: skip
