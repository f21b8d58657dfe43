"""The verb that brings dead sessions back, and how the other verbs let theirs be written down.

kmemscope recover                   what there is
kmemscope recover 1                 open it in the screen, where it stood
kmemscope recover 1 --console       at the line prompt
kmemscope recover 1 -o FILE.kms     save it
kmemscope recover --discard 1       throw it away; --discard all
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_sim.errors import ConfigError, KernelSimError
from tui.verbs.door import GOOD, NAME, JsonOption

if TYPE_CHECKING:
    from snapshots.journal_folder import DeadSession
    from tui.debugger.session import Session
    from tui.debugger.table import Table

ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(recover)


def recover(
    number: Annotated[int | None, typer.Argument(metavar="N", help="Which one to open.")] = None,
    in_console: Annotated[bool, typer.Option("--console", help="At the line prompt.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE.kms", help="Save it, and open nothing.")
    ] = None,
    discard: Annotated[
        str, typer.Option("--discard", metavar="N|all", help="Throw it away for good.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List sessions that died, or open one where it stood."""
    from tui.debugger.autosave import offers, reopen
    from tui.debugger.output import Output
    from tui.debugger.render import output_json, output_text

    rows = offers()
    if discard:
        _discard(rows, discard)
    elif number is None:
        table = Output(table=dead_sessions_table(rows))
        typer.echo(output_json(table) if as_json else output_text(table))
    elif output is not None:
        _save(reopen(_row_of(rows, number)), output, as_json)
    else:
        _open(_row_of(rows, number), in_console)
    raise typer.Exit(GOOD)


def dead_sessions_table(rows: list[DeadSession]) -> Table:
    """Return the sessions that can be reopened, newest first: for the verb and the screen alike."""
    from tui.debugger.table import DEC, FLAG, Column, Table, count

    columns = (
        Column("n", DEC), Column("when"), Column("source"), Column("step", DEC, "where it stood"),
        Column("of", DEC, "its newest step"), Column("inputs", DEC, "that are saved nowhere else"),
        Column("unsaved", FLAG, "inputs, names or bookmarks would be lost"),
    )  # fmt: skip
    found = tuple(
        (
            number, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.last_s)),
            place.source or place.name, place.step, place.end_step, place.nr_unsaved, place.is_unsaved,
        )
        for number, row in enumerate(rows, 1)
        if (place := row.place) is not None
    )  # fmt: skip
    notes = (f"`{NAME} recover N` opens one where it stood",) if found else ()
    return Table(count(len(found), "session") + " to recover", columns, found, notes)


@contextmanager
def autosaved(
    session: Session, source: Path | None = None, machine: Path | None = None,
    *, keep_unsaved: bool = True,
) -> Iterator[None]:  # fmt: skip
    """Let a session be written down while it is used; what ends in good order leaves nothing behind.

    keep_unsaved: unless it has done something that was not saved; the user is told so.
    """
    from tui.debugger.autosave import attach
    from tui.debugger.render import printable

    autosave = session.autosave or attach(session, source, machine)
    try:
        yield
    except BaseException as problem:
        no_death = isinstance(problem, KernelSimError | BrokenPipeError)
        if no_death and not (keep_unsaved and autosave.is_unsaved):
            # Told in words, as a wrong line of a script, or whoever read our output has seen enough.
            autosave.end(keep_unsaved=False)
        else:
            autosave.leave()
        raise
    said = autosave.end(keep_unsaved=keep_unsaved)
    for line in [*autosave.take_said(), *([said] if said else [])]:
        typer.echo(f"{NAME}: {printable(line)}", err=True)


def _row_of(rows: list[DeadSession], number: int) -> DeadSession:
    if not 1 <= number <= len(rows):
        there_are = f"there are 1 to {len(rows)}" if rows else "there is none"
        raise ConfigError(f"recover {number}: no such session; {there_are}")
    return rows[number - 1]


def _discard(rows: list[DeadSession], which: str) -> None:
    from tui.debugger.autosave import state_folder

    if which != ALL and not which.isdecimal():
        raise ConfigError(f"--discard {which}: expected a number of the list, or {ALL}")
    chosen = rows if which == ALL else [_row_of(rows, int(which))]
    for row in chosen:
        state_folder().discard(row)
        typer.echo(f"discarded {row.path.name}")


def _save(session: Session, output: Path, as_json: bool) -> None:
    autosave = session.autosave
    try:
        session.path = None
        session.save(str(output), overwrite=False)
    except BaseException:
        if autosave is not None:
            autosave.leave()
        raise
    if autosave is not None:
        autosave.end()
    facts = {"saved": str(output), "steps": session.end_step}
    typer.echo(json.dumps(facts) if as_json else f"saved {session.end_step} steps to {output}")


def _open(row: DeadSession, in_console: bool) -> None:
    from tui.debugger.autosave import reopen
    from tui.debugger.render import printable

    if not in_console and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("the screen needs a terminal; see --console and -o")
    session = reopen(row)
    with autosaved(session):
        if session.autosave is not None:
            for line in session.autosave.take_said():
                typer.echo(f"{NAME}: {printable(line)}", err=True)
        if in_console:
            from tui.prompt import prompt_loop

            prompt_loop(session)
        else:
            from tui.app import run_app  # the screen takes long to load

            run_app(session)
