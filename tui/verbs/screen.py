"""The verb that opens the screen: on a file, at a place that was pasted, or on a session that died."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_sim.errors import ConfigError
from tui.verbs.door import DEMO, GOOD, MachineOption, example, open_session

if TYPE_CHECKING:
    from tui.debugger.place import Place
    from tui.debugger.session import Session


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("open")(open_screen)


def open_screen(
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE[#step=POS…]", help="What to open; else the built-in demo."),
    ] = None,
    machine: MachineOption = None,
) -> None:
    """Open a file in the screen; what it is, is read from its content."""
    path, place = split_place(file) if file is not None else (None, None)
    if path is not None and not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("the screen needs a terminal; see console, show and script")
    session = _recovered()
    if session is None:
        session = open_session(path or example(DEMO), machine, warn=False)
        session.go_now(max(session.origin.opens_at, session.first_step))
        if place is not None:
            session.go_to_place(place)
    else:
        path = machine = place = None
    from tui.app import run_app  # the screen takes long to load
    from tui.verbs.recover import autosaved

    with autosaved(session, path or example(DEMO), machine):
        run_app(session, place)


def split_place(text: str) -> tuple[Path, Place | None]:
    """Return the file that a text names, and the place in it; a file may be called like a place."""
    from tui.debugger.place import is_place, parse_place

    if Path(text).exists() or not is_place(text):
        return Path(text), None
    place = parse_place(text)
    return Path(place.path), place


def _recovered() -> Session | None:
    """Offer the sessions that died; return the one to go on with, None for none."""
    from tui.debugger.autosave import offers, reopen, state_folder

    rows = offers()
    if not rows:
        return None
    from tui.recover_app import RecoverApp

    app = RecoverApp(rows, state_folder().discard)
    chosen = app.run()
    if app.return_code:
        raise typer.Exit(GOOD)
    return reopen(chosen) if chosen is not None else None
