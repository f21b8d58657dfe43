"""The verb that writes a run in another form: kmemscope export FILE --ftrace|--perfetto|--json [-o OUT].

What the forms hold is told in docs/exports.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from tui.verbs.door import NAME, FileArgument, MachineOption, check_output
from tui.verbs.percent import Progress, percent_line

if TYPE_CHECKING:
    from snapshots.recording import Origin
    from snapshots.timeline import Timeline

    Writer: TypeAlias = Callable[[Timeline, Origin, Progress | None], Iterator[str]]


def register(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(export)


def export(
    file: FileArgument,
    ftrace: Annotated[
        bool, typer.Option("--ftrace", help="An ftrace log that reads back to the same recording.")
    ] = False,
    perfetto: Annotated[
        bool, typer.Option("--perfetto", help="JSON for Perfetto and chrome://tracing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines: inputs, events, digests.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="OUT", help="The file to write; else stdout.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", metavar="NAME", help="Not the main branch, but this.")
    ] = None,
    machine: MachineOption = None,
) -> None:
    """Write a run as an ftrace log, as a trace for Perfetto, or as JSON lines."""
    from snapshots.export.whole_text import write_whole_text
    from snapshots.opening import open_any, read_machine_toml

    writer = _writer(ftrace, perfetto, as_json)
    if output is not None:
        check_output(output, [file])
    opened = open_any(file, read_machine_toml(machine) if machine else None)
    for line in opened.lines:
        _tell(line)
    timeline = opened.tree.named(branch).timeline if branch else opened.timeline
    pieces = writer(timeline, opened.origin, percent_line(timeline.first_step))
    if output is not None:
        nr_bytes = write_whole_text(output, pieces)
        _tell(f"{nr_bytes} bytes written to {output}")
        return
    for piece in pieces:
        sys.stdout.write(piece)


def _writer(ftrace: bool, perfetto: bool, as_json: bool) -> Writer:
    if ftrace + perfetto + as_json != 1:
        raise typer.BadParameter("give one of --ftrace, --perfetto and --json")
    if ftrace:
        from snapshots.export.ftrace_export import ftrace_lines

        return ftrace_lines
    if perfetto:
        from snapshots.export.perfetto_export import perfetto_pieces

        return perfetto_pieces
    from snapshots.export.json_export import json_lines

    return json_lines


def _tell(line: str) -> None:
    from tui.debugger.render import printable

    typer.echo(f"{NAME}: {printable(line)}", err=True)
