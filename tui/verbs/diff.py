"""kmemscope diff: where two recordings part, and what is not the same at two moments.

    kmemscope diff A.kms B.kms                         where they part, and the diff there
    kmemscope diff A.kms#step=812 B.kms#step=900       two moments
    kmemscope diff A.kms B.kms --at 50%                the same position of both
    kmemscope diff FILE --from 10 --to end             two moments of one run

Exit code 0 if there is no difference, 1 if there is one, 2 for bad input.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kernel_sim.errors import ConfigError
from tui.verbs.door import FOUND, GOOD, JsonOption, open_session

if TYPE_CHECKING:
    from tui.debugger.session import Session

STEP: Final = "#step="
USAGE: Final = "expected FILE --from POS --to POS, or two files, each with #step=POS or none"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(diff)


def diff(
    one: Annotated[str, typer.Argument(metavar="A[#step=POS]", help="A file of any kind.")],
    other: Annotated[
        str | None, typer.Argument(metavar="B[#step=POS]", help="The one to compare it with.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="POS", help="Of both files.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="POS", help="Of one file.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="POS", help="Of one file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where two runs part, or what is not the same at two moments."""
    mine, my_place = _split(one)
    yours, your_place = _split(other) if other is not None else (mine, None)
    if other is None:
        if my_place or at:
            raise ConfigError(f"diff: one file: {USAGE}")
        _tell_moments(_open_both(mine, mine), (since or "start", until or "end"), as_json)
        return
    if since or until:
        raise ConfigError(f"diff: --from and --to are for one file: {USAGE}")
    places = (my_place or at, your_place or at)
    if places == (None, None):
        _tell_parting(open_session(mine), open_session(yours), as_json)
    elif places[0] is None or places[1] is None:
        raise ConfigError(f"diff: a position of one file only: {USAGE}")
    else:
        _tell_moments(_open_both(mine, yours), (places[0], places[1]), as_json)


def _split(text: str) -> tuple[Path, str | None]:
    """Return the file and the position of `FILE#step=POS`; a file may be called so itself."""
    file, mark, place = text.rpartition(STEP)
    if not mark or Path(text).exists():
        return Path(text), None
    return Path(file), place


def _open_both(mine: Path, yours: Path) -> tuple[Session, Session]:
    """Open both files, or one of them once if they are the same."""
    session = open_session(mine)
    is_same = mine == yours or (mine.exists() and yours.exists() and mine.samefile(yours))
    return session, session if is_same else open_session(yours)


def _names(one: Session, other: Session) -> tuple[str, str]:
    """Return what two runs are called; the same name twice is told apart."""
    if one.name != other.name:
        return one.name, other.name
    return f"{one.name} (first)", f"{other.name} (second)"


def _tell_parting(one: Session, other: Session, as_json: bool) -> None:
    from snapshots.diff.parting import parting
    from tui.debugger.render import printable, table_text
    from tui.debugger.views.diff import diff_view
    from tui.debugger.views.parting import parting_json, parting_lines

    names = _names(one, other)
    found = parting(one.timeline, other.timeline)
    if as_json:
        typer.echo(json.dumps(parting_json(found, names)))
    elif found is None:
        typer.echo(printable(f"{names[0]} and {names[1]} are the same up to step {one.end_step}"))
    else:
        for line in parting_lines(found, names):
            typer.echo(printable(line))
        if not found.ended:
            typer.echo(table_text(diff_view(found.rows, f"at step {found.step}")))
    raise typer.Exit(GOOD if found is None else FOUND)


def _tell_moments(
    sessions: tuple[Session, Session], places: tuple[str, str], as_json: bool
) -> None:
    from snapshots.diff.rows import DiffRow
    from snapshots.diff.state_diff import in_order
    from tui.debugger.commands.comparing import moment_slices
    from tui.debugger.output import Output
    from tui.debugger.render import output_json, output_text
    from tui.debugger.views.diff import diff_view

    one, other = sessions
    steps = one.position(places[0]), other.position(places[1])
    rows: list[DiffRow] = []
    for _ in moment_slices((one.timeline, steps[0]), (other.timeline, steps[1]), rows):
        pass
    names = ("", "") if one is other else tuple(f"{name} " for name in _names(one, other))
    title = f"{names[0]}step {steps[0]} ► {names[1]}step {steps[1]}"
    output = Output(table=diff_view(in_order(rows), title), ok=not rows)
    typer.echo(output_json(output) if as_json else output_text(output))
    raise typer.Exit(FOUND if rows else GOOD)
