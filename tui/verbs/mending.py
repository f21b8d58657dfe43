"""The verbs that make another recording of one: what is left of a damaged one, or a stretch.

kmemscope repair FILE.kms -o OUT.kms
kmemscope trim FILE.kms --from POSITION --to POSITION -o OUT.kms
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.verbs.door import FOUND, GOOD, FileArgument, check_output, open_session
from tui.verbs.percent import percent_line
from tui.verbs.recordings import RecordingArgument, count

OutputOption = Annotated[Path, typer.Option("-o", metavar="OUT.kms", help="The file to write.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(repair)
    app.command()(trim)


def repair(file: RecordingArgument, output: OutputOption) -> None:
    """Save what still makes a run of a damaged recording in a new one, and verify that.

    0: nothing is lost. 1: something is, and is told. The file itself is never written to.
    """
    from snapshots.repair import repair_recording
    from tui.debugger.render import printable

    check_output(output, [file])
    done = repair_recording(file, output, progress=percent_line())
    for line in done.damage:
        typer.echo(printable(f"damage: {line}"))
    for line in done.lost:
        typer.echo(printable(f"lost: {line}"))
    for line in done.problems:
        typer.echo(printable(f"wrong: {line}"))
    saved = (
        f"{count(done.nr_steps, 'step')}, {count(done.nr_inputs, 'input')},"
        f" {count(done.nr_events, 'event')}, {count(done.nr_branches, 'branch', 'branches')}"
    )
    typer.echo(printable(f"saved to {output}: {saved}"))
    raise typer.Exit(GOOD if done.is_whole else FOUND)


def trim(
    file: FileArgument,
    output: OutputOption,
    begin: Annotated[
        str, typer.Option("--from", metavar="POSITION", help="Where to begin, at the latest.")
    ] = "start",
    end: Annotated[str, typer.Option("--to", metavar="POSITION", help="Where to end.")] = "end",
) -> None:
    """Save a stretch of a run: from the nearest keyframe before --from, its steps numbered as before."""
    from snapshots.trim import trim_to_file
    from tui.debugger.render import printable

    check_output(output, [file])
    session = open_session(file)
    here = session.tree.current_number
    marks = {name: mark for name, mark in session.bookmarks.items() if mark.branch == here}
    taken = trim_to_file(
        output, session.timeline, session.origin, session.position(begin), session.position(end),
        bookmarks=marks, progress=percent_line(),
    )  # fmt: skip
    typer.echo(
        printable(
            f"saved to {output}: steps {taken.first_step} to {taken.end_step},"
            f" {count(taken.nr_inputs, 'input')}, {count(taken.nr_events, 'event')}"
        )
    )
