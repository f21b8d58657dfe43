"""kmemscope declarations: what rostedt-2006-modules would have broken in C sources.

    kmemscope declarations a.c b.c                 static DEFINE_PER_CPU, names that clash, pasted fields
    kmemscope declarations --objects a.c           the two objects of every variable, and who knows them
    kmemscope declarations --without-modules a.c   the same sources without SMP or MODULES

Exit code 0 if compiler and linker take them, 1 if one of them does not, 2 for bad input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kernel_sim.errors import ConfigError
from tui.verbs.door import FOUND, GOOD, JsonOption

if TYPE_CHECKING:
    from tui.debugger.output import Output
    from tui.debugger.table import Table

SOURCE_BYTES_MAX: Final = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(declarations)


def declarations(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE.c", help="C sources.")],
    without_modules: Annotated[
        bool, typer.Option("--without-modules", help="A build without SMP or MODULES.")
    ] = False,
    objects: Annotated[
        bool, typer.Option("--objects", help="List the objects that are defined.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check how C sources declare per-CPU variables for the offset pointers of April 2006."""
    from tui.debugger.render import output_json, output_text

    output = _output([_read(path) for path in paths], not without_modules, objects)
    typer.echo(output_json(output) if as_json else output_text(output))
    raise typer.Exit(GOOD if output.ok else FOUND)


def _read(path: Path) -> tuple[str, str]:
    data = path.read_bytes()
    if len(data) > SOURCE_BYTES_MAX:
        raise ConfigError(
            f"{path}: {len(data)} bytes; expected a C source of at most {SOURCE_BYTES_MAX}"
        )
    return str(path), data.decode("utf-8", "replace")


def _output(sources: list[tuple[str, str]], has_offsets: bool, objects: bool) -> Output:
    from kernel_sim.percpu.declarations import ERROR, check_declarations, declared_objects
    from tui.debugger.output import Output
    from tui.debugger.table import Column, Table, count

    findings = check_declarations(sources, has_offsets=has_offsets)
    is_good = not any(finding.severity == ERROR for finding in findings)
    if objects:
        return Output(table=_objects(sources, has_offsets), ok=is_good)
    nr_found = len(declared_objects(sources, has_offsets=False))
    found = count(nr_found, "per-CPU declaration") if nr_found else "no per-CPU declaration"
    table = Table(
        "per-CPU variables of C sources" + ("" if findings else ": nothing to complain about"),
        (Column("where"), Column("severity"), Column("text")),
        tuple((finding.where, finding.severity, finding.text) for finding in findings),
        (f"{found} found in {count(len(sources), 'file')}",),
    )
    return Output(table=table, ok=is_good)


def _objects(sources: list[tuple[str, str]], has_offsets: bool) -> Table:
    from kernel_sim.percpu.declarations import declared_objects
    from tui.debugger.table import FLAG, Column, Table

    return Table(
        "objects of per-CPU variables",
        (Column("where"), Column("section"), Column("name"), Column("static", FLAG)),
        tuple(
            (each.where, each.section, each.name, each.is_static)
            for each in declared_objects(sources, has_offsets=has_offsets)
        ),
    )
