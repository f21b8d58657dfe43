"""The verbs that look at a recording: what it is, whether it is true, what state it holds where.

kmemscope info FILE         kmemscope verify FILE.kms       kmemscope digest FILE [POSITION …]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tui.verbs.door import FOUND, GOOD, FileArgument, JsonOption, MachineOption, open_session
from tui.verbs.percent import percent_line

if TYPE_CHECKING:
    from tui.debugger.table import Table

RecordingArgument = Annotated[Path, typer.Argument(metavar="FILE.kms", help="A recording.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(info)
    app.command()(verify)
    app.command()(digest)


def digest(
    file: FileArgument,
    more: Annotated[list[str] | None, typer.Argument(metavar="POSITION")] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", metavar="POSITION", help="Step, 50%, #event, end …")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the digest of the whole state at positions, one a line: STEP DIGEST."""
    session = open_session(file)
    for text in [*(at or ()), *(more or ())] or ["end"]:
        session.go_now(session.position(text))
        step, found = session.step, session.digest()
        typer.echo(json.dumps({"step": step, "digest": found}) if as_json else f"{step} {found}")


def verify(
    file: RecordingArgument,
    hash_seeds: Annotated[
        bool,
        typer.Option(
            "--hash-seeds/--no-hash-seeds",
            help="Run it also in two processes that order hashes otherwise; takes three times as long.",
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Run a recording again from nothing and hold it against what it says.

    Every checksum, every keyframe of every branch part by part, every event; the first step that differs is
    named. 1: it is not true to the end. 2: it is no recording.
    """
    from snapshots.verify import examine
    from tui.debugger.render import printable

    verdict = examine(file, hash_seeds=hash_seeds, progress=percent_line())
    if as_json:
        typer.echo(json.dumps({"file": str(file)} | verdict.to_json()))
        raise typer.Exit(GOOD if verdict.ok else FOUND)
    for line in verdict.problems:
        typer.echo(printable(line))
    if verdict.ok:
        typer.echo(printable(f"{file}: true to the end"))
        typer.echo(
            f"  {verdict.nr_records} records, {count(verdict.nr_branches, 'branch', 'branches')},"
            f" {count(verdict.nr_keyframes, 'keyframe')}, {count(verdict.nr_events, 'event')},"
            f" {count(verdict.nr_steps, 'step')} run again"
        )
        if verdict.hash_seeds:
            typer.echo(
                f"  the same digests under hash seeds {' and '.join(map(str, verdict.hash_seeds))}"
            )
    for line in verdict.notes:
        typer.echo(printable(f"  {line}"))
    raise typer.Exit(GOOD if verdict.ok else FOUND)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def info(file: FileArgument, machine: MachineOption = None, as_json: JsonOption = False) -> None:
    """Say what a file is and what is in it; a recording is not opened for that, and may be damaged."""
    from snapshots.opening import is_recording
    from tui.debugger.output import Output
    from tui.debugger.render import output_json, output_text
    from tui.debugger.views.run import run_view

    if file.is_file() and is_recording(file):
        output = Output(table=facts_table(file))
    else:
        output = Output(table=run_view(open_session(file, machine)))
    typer.echo(output_json(output) if as_json else output_text(output))


def facts_table(file: Path) -> Table:
    """Return the facts of a recording as rows; what is wrong with it stands beneath."""
    from snapshots.recording_facts import recording_facts
    from tui.debugger.table import Column, Table

    facts = recording_facts(file)
    return Table(
        file.name, (Column("fact"), Column("value")), tuple(facts.rows), tuple(facts.problems)
    )
