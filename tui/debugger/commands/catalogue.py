"""All commands: one registry for console, scripts and the screen's command line."""

from __future__ import annotations

from tui.debugger.commands import (
    acting,
    asking_history,
    beneath,
    branching,
    comparing,
    comparing_systems,
    conditions,
    figures,
    files,
    looking,
    machine_parts,
    percpu_systems,
    stepping,
    what_if,
)
from tui.debugger.commands.registry import (
    TABLE_ONLY,
    Argument,
    Command,
    Kind,
    Seat,
    Value,
    find_command,
)
from tui.debugger.output import Output
from tui.debugger.session import Session
from tui.debugger.table import Column, Table

GROUPS = (
    stepping.GROUP, asking_history.GROUP, looking.GROUP, percpu_systems.GROUP, looking.BENEATH, looking.WHY,
    acting.GROUP, beneath.GROUP,
    machine_parts.GROUP, what_if.GROUP, branching.GROUP, comparing.GROUP, files.GROUP,
)  # fmt: skip
COLUMNS = (Column("command"), Column("help"), Column("aliases"), Column("group"))


async def show_help(seat: Seat, name: str = "") -> Output:
    """Show all commands, or one."""
    if name:
        return _one(find_command(REGISTRY, name))
    if seat.wants == TABLE_ONLY:
        return Output(table=_listing(ALL))
    lines: list[str] = []
    width = max(len(command.usage) for command in ALL)
    for group in GROUPS:
        members = [command for command in ALL if command.group == group]
        lines += [f"{group}:", *(f"  {each.usage:{width}}  {each.help}" for each in members)]
    return Output(tuple(lines), _listing(ALL))


def _one(command: Command) -> Output:
    lines = [command.usage, f"  {command.help}"]
    if command.aliases:
        lines.append(f"  also: {' '.join(command.aliases)}")
    listing = _listing((command,))
    return Output(tuple(lines), Table(command.usage, COLUMNS, listing.rows, (command.help,)))


def _listing(commands: tuple[Command, ...]) -> Table:
    rows = tuple(
        (command.usage, command.help, " ".join(command.aliases), command.group)
        for command in commands
    )
    return Table(f"{len(rows)} commands", COLUMNS, rows)


def _read_command(session: Session, word: str) -> Value:
    return find_command(REGISTRY, word).name


HELP = Command(
    "help", ("h", "?"), files.GROUP,
    (Argument("COMMAND", Kind(_read_command, lambda session: REGISTRY), optional=True),),
    "all commands, or one", show_help,
)  # fmt: skip
ALL: tuple[Command, ...] = (
    *stepping.COMMANDS, *conditions.COMMANDS, *asking_history.COMMANDS,
    *looking.COMMANDS, *percpu_systems.COMMANDS, *looking.BENEATH_COMMANDS, *acting.COMMANDS,
    *beneath.COMMANDS, *machine_parts.COMMANDS, *what_if.COMMANDS, *branching.COMMANDS,
    *comparing.COMMANDS, *comparing_systems.COMMANDS, *figures.COMMANDS, *files.COMMANDS, HELP,
)  # fmt: skip
REGISTRY: dict[str, Command] = {
    name: command for command in ALL for name in (command.name, *command.aliases)
}
