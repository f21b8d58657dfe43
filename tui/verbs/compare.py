"""The verb that gives every per-CPU system the same work.

    kmemscope compare gen:mixed,seed=7                         all systems, on two nodes with four CPUs
    kmemscope compare trace/ --systems bitmap,block-2005       the work of a real kernel, on two of them
    kmemscope compare run.kms --machine mine.toml -o page.html --save runs/
    kmemscope compare gen:hotplug --app                        then look at them side by side

Exit code 0 if every run came to its end, 1 if a machine stopped at a fault or a system that was asked
for by name cannot be on this machine, 2 for bad input. Requests that a system refuses are results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernel_sim.errors import ConfigError
from tui.verbs.door import FOUND, GOOD, NAME, JsonOption, check_output
from tui.verbs.percent import CLEAR

if TYPE_CHECKING:
    from snapshots.compare.runner import Comparison
    from snapshots.compare.workload import Workload
    from tui.debugger.table import Table


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(compare)


def compare(
    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD",
            help="gen:KIND[,seed=N][,ops=N][,cpus=N], or a recording, log, folder or golden file.",
        ),
    ],
    systems: Annotated[
        str | None,
        typer.Option(
            "--systems", metavar="A,B:KEY=VALUE", help="Not all systems; with switches behind them."
        ),
    ] = None,
    machine: Annotated[
        Path | None,
        typer.Option("--machine", metavar="TOML", help="Else two nodes with four CPUs."),
    ] = None,
    as_json: JsonOption = False,
    whole: Annotated[bool, typer.Option("--all", help="Print every table.")] = False,
    page: Annotated[
        Path | None, typer.Option("-o", metavar="PAGE.html", help="Write a page with charts.")
    ] = None,
    in_app: Annotated[
        bool, typer.Option("--app", help="Then look at all systems side by side, on the screen.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FOLDER", help="Save each run as a recording.")
    ] = None,
) -> None:
    """Give all per-CPU memory systems the same work, and compare what it cost them."""
    from snapshots.compare.generated import PREFIX
    from snapshots.compare.machines import chosen_systems
    from snapshots.compare.runner import begin_comparison
    from snapshots.compare.workload_sources import read_workload

    if in_app and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("--app: the screen needs a terminal; without it tables are printed")
    chosen = chosen_systems(systems)
    base, where = _base_of(machine)
    if page is not None:
        check_output(page, [path for path in (Path(workload), machine) if path is not None])
    work = read_workload(workload, base if machine is not None else None)
    comparison = begin_comparison(work, chosen, base, where)
    if machine is None and not workload.startswith(PREFIX):
        comparison.notes.append(
            f"the machine is {where!r}, whatever it was that the work was read from: --machine TOML"
        )
    _run(comparison)
    if save is not None:
        _save(comparison, save)
    if page is not None:
        _write_page(comparison, page)
    if in_app:
        _show(comparison)
    else:
        _tell(comparison, as_json, whole)
    is_good = comparison.is_whole and (systems is None or not comparison.not_run)
    raise typer.Exit(GOOD if is_good else FOUND)


def _base_of(machine: Path | None) -> tuple[Mapping[str, object], str]:
    """Return the machine that all get, and how messages name it."""
    from snapshots.compare.machines import USUAL_MACHINE
    from snapshots.opening import read_machine_toml

    if machine is None:
        return USUAL_MACHINE, str(USUAL_MACHINE["name"])
    return read_machine_toml(machine), str(machine)


def _run(comparison: Comparison) -> None:
    from snapshots.compare.runner import comparing

    is_watched = sys.stderr.isatty()
    last = ""
    for told in comparing(comparison):
        text = f"{told.label}: {100 * told.nr_done // max(told.nr_operations, 1)}%"
        if is_watched and text != last:
            sys.stderr.write(f"{CLEAR}{text}")
            sys.stderr.flush()
            last = text
    if last:
        sys.stderr.write(CLEAR)


def _save(comparison: Comparison, folder: Path) -> None:
    """Save each run as a recording under its system's name."""
    from snapshots.origin import Origin
    from snapshots.recording import save_timeline

    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: not a folder; give one to save recordings in")
    folder.mkdir(parents=True, exist_ok=True)
    for run in comparison.runs:
        path = folder / f"{run.label.replace(':', '_').replace('=', '-')}.kms"
        notes = [f"compare: {comparison.workload.origin}"]
        save_timeline(path, run.timeline, Origin(kind="compare", notes=notes))
        typer.echo(f"{NAME}: saved to {path}", err=True)


def _write_page(comparison: Comparison, page: Path) -> None:
    from snapshots.export.whole_text import write_whole_text
    from tui.charts.comparison_page import comparison_page

    nr_bytes = write_whole_text(page, comparison_page(comparison))
    typer.echo(f"{NAME}: {nr_bytes} bytes written to {page}", err=True)


def _show(comparison: Comparison) -> None:
    from snapshots.compare.side_by_side import SideBySide
    from tui.compare_app import run_compare_app

    run_compare_app(SideBySide(comparison))


def _tell(comparison: Comparison, as_json: bool, whole: bool) -> None:
    from tui.debugger.render import table_text
    from tui.debugger.views.comparison import BRIEF, EMPTY_TOLD, VIEWS

    tables = {name: view(comparison) for name, view in VIEWS.items()}
    if as_json:
        typer.echo(json.dumps(_as_json(comparison.workload, tables, comparison.is_whole)))
        return
    told = [
        table_text(table)
        for name, table in tables.items()
        if (whole or name in BRIEF) and (table.rows or name in EMPTY_TOLD)
    ]
    typer.echo("\n\n".join(told))


def _as_json(work: Workload, tables: dict[str, Table], ok: bool) -> dict[str, object]:
    about = {
        "name": work.name, "origin": work.origin, "operations": len(work.operations),
        "counts": work.counts, "left_out": work.left_out, "cpus": work.nr_cpus,
    }  # fmt: skip
    return {
        "workload": about,
        **{name: table.to_json() for name, table in tables.items()},
        "ok": ok,
    }
