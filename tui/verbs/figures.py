"""kmemscope figures: every figure that the mails give of their systems, measured again.

    kmemscope figures                              all of them
    kmemscope figures 5 R3                         some, with all that is known of each
    kmemscope figures --set static_bytes=20000     other inputs: the figures move, no mail is compared
    kmemscope figures 16 --save FILE.kms           the run of the machine on which one was measured

Exit code 0 if all are right, 1 if one is off, 2 for bad input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_sim.errors import ConfigError
from tui.verbs.door import FOUND, GOOD, JsonOption

if TYPE_CHECKING:
    from snapshots.figures.figure import Figure


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(figures)


def figures(
    numbers: Annotated[
        list[str] | None, typer.Argument(metavar="NUMBER", help="Of the figures; else all.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="INPUT=VALUE", help="Move an input; --inputs lists them."),
    ] = None,
    inputs_only: Annotated[
        bool, typer.Option("--inputs", help="List the inputs and what they mean.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE.kms", help="Save the run of the one figure's machine."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the figures of the mails on simulated machines, and compare."""
    from snapshots.figures.catalogue import figures_of, numbers_of
    from snapshots.figures.inputs import read_inputs
    from tui.debugger.render import output_json, output_text
    from tui.debugger.views.figures import figures_output, inputs_output

    inputs = read_inputs(settings or ())
    if inputs_only:
        output = inputs_output(inputs)
    else:
        measured = figures_of(inputs, numbers_of(numbers or ()))
        output = figures_output(measured, inputs, in_detail=bool(numbers))
        if save is not None:
            _save(measured, save)
    typer.echo(output_json(output) if as_json else output_text(output))
    raise typer.Exit(GOOD if output.ok else FOUND)


def _save(measured: list[Figure], output: Path) -> None:
    from snapshots.origin import Origin
    from snapshots.recording import save_timeline

    run = measured[0].run
    if len(measured) != 1 or run is None:
        raise ConfigError("--save: expected one NUMBER: each figure has a machine of its own")
    save_timeline(output, run, Origin())
