"""The verb that watches a recording grow: its events, as somebody else's session writes them.

    kmemscope follow FILE.kms [--json]

It ends when the writer has closed the file, or is gone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_sim.errors import ConfigError
from tui.verbs.door import GOOD, NAME, JsonOption, open_session

if TYPE_CHECKING:
    from tui.debugger.session import Session

PAUSE_S = 0.2
FileToFollow = Annotated[Path, typer.Argument(metavar="FILE.kms", help="A recording.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(follow)


def follow(file: FileToFollow, as_json: JsonOption = False) -> None:
    """Print a recording's events, and those that its writer adds, until the writer is done."""
    from tui.debugger.render import printable
    from tui.debugger.views.events import COLUMNS, event_row

    session = open_session(file, warn=False)
    if session.recording is None:
        raise ConfigError(f"{file}: only a recording can be followed")
    names = [column.name for column in COLUMNS]
    for number in _events_as_they_come(session):
        row = event_row(session, number)
        if as_json:
            typer.echo(json.dumps(dict(zip(names, row, strict=True))))
        else:
            cells = (column.text_of(cell) for column, cell in zip(COLUMNS, row, strict=True))
            typer.echo(printable("  ".join(cell for cell in cells if cell)))
    typer.echo(f"{NAME}: {_why_it_ended(session)}", err=True)
    raise typer.Exit(GOOD)


def _events_as_they_come(session: Session) -> Iterator[int]:
    """Yield the number of each event of the main branch, waiting for more while there is a writer."""
    if session.recording is None:
        return
    reader, number = session.recording.reader, 0
    while True:
        is_last_look = not reader.has_writer
        session.follow()
        while number < session.nr_events:
            yield number
            number += 1
        if is_last_look:
            return
        time.sleep(PAUSE_S)


def _why_it_ended(session: Session) -> str:
    """Say whether all there is was seen, and who ended it."""
    steps = f"step {session.end_step}"
    if session.recording is None:
        return steps
    reader = session.recording.reader
    if reader.is_replaced:
        return f"{steps}; another file stands under this name now: it was saved anew"
    if reader.is_closed_by_writer:
        return f"{steps}; the writer has closed the file"
    return f"{steps}; nobody writes the file any more, and it was not closed"
