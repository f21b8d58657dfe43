"""Files, and the check of the machine against first principles."""

from __future__ import annotations

import asyncio

from kernel_sim.errors import InvariantBroken
from tui.debugger.commands.registry import TEXT, Argument, Command, Seat, one_of
from tui.debugger.errors import CommandError
from tui.debugger.output import Output

GROUP = "files"
FORCE = "force"


async def save(seat: Seat, path: str = "", *words: str) -> Output:
    """Save to the recording one came from, or the whole run to another file."""
    session = seat.session
    force = FORCE in words
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
