"""The verb that makes a short reproduction of a long run.

    kmemscope shrink FILE.kms -o SHORT.kms                  what the run ends in: its fault, or a failed alloc
    kmemscope shrink FILE.kms -o SHORT.kms --until 'chunk[1].free_bytes < 4096'

Progress goes to stderr. Interrupted, it keeps the best found so far.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernel_sim.errors import ConfigError
from tui.interrupt import INTERRUPTED
from tui.verbs.door import GOOD, NAME, JsonOption, check_output, open_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_sim.machine import Machine
    from snapshots.timeline import Timeline
    from snapshots.what_if.failure import Condition
    from snapshots.what_if.shrink import Shrinker, Shrunk

RUNS = 2000
SECONDS_BETWEEN_LINES = 1.0
NOT_FAILING = "the condition does not hold"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(shrink)


def shrink(
    file: Annotated[Path, typer.Argument(metavar="FILE.kms", help="A recording.")],
    output: Annotated[Path, typer.Option("-o", metavar="OUT.kms", help="The recording to write.")],
    until: Annotated[
        str,
        typer.Option("--until", metavar="COND", help="fault, check, event NAME F=V …, expression."),
    ] = "",
    runs: Annotated[int, typer.Option("--runs", min=1, help="How many candidates to run.")] = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Find a shorter list of inputs that still fails, and save it as a recording."""
    from snapshots.what_if.failure import Outcome, parse_condition
    from snapshots.what_if.program import finished
    from snapshots.what_if.retrace import program_of
    from snapshots.what_if.shrink import Budget, Shrinker

    check_output(output, [file])
    if output.exists() and not output.is_file():
        raise ConfigError(f"{output}: not a file; give one to write to")
    timeline = open_session(file).timeline
    program, machine = finished(program_of(timeline), _reader())
    outcome = Outcome(machine, machine.events)
    condition = parse_condition(until, outcome, _read_expression(machine))
    if not condition.holds(outcome):
        raise ConfigError(f"{file}: {NOT_FAILING} at the recording's end: {condition.text}")
    shrinker = Shrinker(program, condition, Budget(runs_max=runs))
    began = time.monotonic()
    whole = _search(shrinker)
    _save(file, output, shrinker, condition, as_json, (time.monotonic() - began, whole))
    raise typer.Exit(GOOD if whole else INTERRUPTED)


def _reader() -> Callable[[int, int], None]:
    """Return what tells how far the recording is read."""
    last = [time.monotonic()]

    def tell(here: int, goal: int) -> None:
        now = time.monotonic()
        if now - last[0] >= SECONDS_BETWEEN_LINES:
            last[0] = now
            typer.echo(f"{NAME}: reading input {here:,} of {goal:,}", err=True)

    return tell


def _read_expression(machine: Machine) -> Callable[[str], Callable[[Machine], object]]:
    def read(text: str) -> Callable[[Machine], object]:
        from snapshots.history.compiled import compile_condition
        from snapshots.history.sight import Sight

        found = compile_condition(text, machine)
        if found.events or found.ptrs:
            raise ConfigError(
                f"{text}: counts events; expected `event NAME`, or what a state shows"
            )
        return lambda stands: found.holds(Sight(stands))

    return read


def _search(shrinker: Shrinker) -> bool:
    """Go through the search and tell how far it is; False if it was interrupted."""
    last = time.monotonic()
    try:
        for told in shrinker.shrinks():
            now = time.monotonic()
            if now - last >= SECONDS_BETWEEN_LINES:
                last = now
                text = f"run {told.nr_runs}, {told.nr_rows:,} inputs: {told.doing}"
                typer.echo(f"{NAME}: {text}", err=True)
    except KeyboardInterrupt:
        typer.echo(f"{NAME}: interrupted; this is the best so far", err=True)
        return False
    return True


def _save(
    file: Path, output: Path, shrinker: Shrinker, condition: Condition, as_json: bool,
    how: tuple[float, bool],
) -> None:  # fmt: skip
    """Record what was found, make sure that it fails as well, and print it."""
    from snapshots.recording import Origin, save_timeline
    from snapshots.what_if.failure import Outcome
    from snapshots.what_if.shrink import timeline_of
    from tui.debugger.render import printable

    best = shrinker.best
    timeline = timeline_of(best, shrinker.program)
    events = [timeline.event_at(number) for number in range(timeline.nr_events)]
    if not condition.holds(Outcome(timeline.machine, events)):
        raise ConfigError(
            f"{file}: {len(best.rows)} inputs fail alone, but not with keyframes between; raise --runs"
        )
    summary = _summary(best, how[0])
    notes = [f"shrunk from {file.name}: {summary}", f"fails as: {condition.text}"]
    save_timeline(output, timeline, Origin(notes=notes))
    lines = _lines(timeline)
    if as_json:
        typer.echo(json.dumps(_as_json(best, condition, how[0], lines, output)))
        return
    for line in (summary, f"fails as: {condition.text}", *lines, f"saved to {output}"):
        typer.echo(printable(line))


def _summary(best: Shrunk, seconds: float) -> str:
    rest = "" if best.is_minimal else "; not every input was tried"
    runs = f"{best.nr_runs:,} runs, {best.nr_steps:,} steps, {seconds:.1f} s"
    return f"{best.nr_before:,} inputs → {len(best.rows):,} ({runs}{rest})"


def _lines(timeline: Timeline) -> list[str]:
    """Return the calls as lines of a script; with their schedule, if it is not the simplest."""
    from tui.debugger.script_lines import script_lines

    inputs = [timeline.input_at(number) for number in range(timeline.nr_inputs)]
    idle = [not place or given.step > inputs[place - 1].step for place, given in enumerate(inputs)]
    return script_lines(inputs, idle)


def _as_json(
    best: Shrunk, condition: Condition, seconds: float, lines: list[str], output: Path
) -> dict[str, Any]:
    return {
        "inputs_before": best.nr_before,
        "inputs": len(best.rows),
        "condition": condition.text,
        "runs": best.nr_runs,
        "steps": best.nr_steps,
        "seconds": round(seconds, 3),
        "is_minimal": best.is_minimal,
        "schedule": [best.config.schedule.policy, best.config.schedule.seed],
        "lines": lines,
        "file": str(output),
    }
