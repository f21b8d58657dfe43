"""The command `kmemscope`: the door to everything, with a screen or without one.

    kmemscope FILE            the screen            boot  replay  import  info  digest  verify
    kmemscope console FILE    a line prompt         show  script  run     without a screen

Exit codes: 0 good; 1 the run found a fault, a divergence or a failed check; 2 usage or bad input;
130 interrupted; 141 whoever read our output went away. What is wrong is said in one line on stderr,
never as a traceback. What takes long to load is loaded by the command that needs it.
"""

from __future__ import annotations

from tui.interrupt import (
    INTERRUPTED,
    end,
    end_on_interrupt,
    ends_on_interrupt,
    interruptible,
    is_command,
    no_more_interrupts,
)

if is_command(__name__):
    end_on_interrupt()  # also while all that follows is loaded

import difflib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from kernel_sim.errors import ConfigError, KernelFault, KernelSimError
from tui.garbage import collect_rarely
from tui.verbs import (
    compare,
    declarations,
    diff,
    exports,
    figures,
    follow,
    mending,
    recordings,
    recover,
    screen,
    shrink,
)
from tui.verbs.door import (
    BAD_INPUT,
    FOUND,
    GOOD,
    NAME,
    FileArgument,
    JsonOption,
    MachineOption,
    check_output,
    example,
    open_session,
)

if TYPE_CHECKING:
    from snapshots.logs.report import ReplayReport

READER_GONE: Final = 141
STDIN: Final = "-"
SHOW_TRACEBACK: Final = "KMEMSCOPE_TRACEBACK"


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn whatever went wrong into one line on stderr and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except KernelFault as problem:
        raise _ended(problem, FOUND) from problem
    except KernelSimError as problem:
        raise _ended(problem, BAD_INPUT) from problem
    except BrokenPipeError as problem:
        _discard_stdout()
        raise typer.Exit(READER_GONE) from problem
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        raise _ended(f"{where}{problem.strerror or problem}", BAD_INPUT) from problem
    except MemoryError as problem:
        raise _ended("there is not enough memory for this", BAD_INPUT) from problem
    except KeyboardInterrupt as problem:
        if ends_on_interrupt():
            end()
        raise _ended("interrupted", INTERRUPTED) from problem
    except (ValueError, LookupError, TypeError, ArithmeticError, AssertionError) as problem:
        if os.environ.get(SHOW_TRACEBACK):
            raise
        text = f"a defect of kmemscope itself: {type(problem).__name__}: {problem}"
        raise _ended(f"{text} ({SHOW_TRACEBACK}=1 shows where)", BAD_INPUT) from problem


def _ended(problem: object, code: int) -> typer.Exit:
    from tui.debugger.render import printable

    line = " ".join(str(problem).split("\n"))
    typer.echo(f"{NAME}: {printable(line)}", err=True)
    return typer.Exit(code)


def _discard_stdout() -> None:
    """Let what is still buffered go nowhere, or Python complains of the closed pipe at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class Door(TyperGroup):
    """The group of all verbs; a first word that is none of them is a file to open.

    Typer brings its own copy of Click or uses the one installed: hence no type for a context.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `open` before what is no verb and no option."""
        word = args[0] if args else ""
        if not word.startswith("-") and word not in self.commands:
            if word and not os.access(word, os.F_OK) and "#" not in word:
                near = difflib.get_close_matches(word, self.commands, n=1)
                hint = f"; did you mean `{NAME} {near[0]}`?" if near else ""
                raise typer.BadParameter(f"{word}: no such file or folder, and no verb{hint}", ctx)
            args = ["open", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Carry out a verb; errors become a line and an exit code."""
        with _one_line_errors():
            return interruptible(lambda: super(Door, self).invoke(ctx))


app = typer.Typer(
    name=NAME,
    cls=Door,
    help="A debugger for simulated kernel memory. `kmemscope FILE` opens the screen.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    collect_rarely()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BrokenPipeError:
        _discard_stdout()
        sys.exit(READER_GONE)
    except KeyboardInterrupt:
        end()
    finally:
        no_more_interrupts()


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"{NAME} {version(NAME)}")
    except PackageNotFoundError:
        typer.echo(f"{NAME}, not installed")
    raise typer.Exit(GOOD)


@app.callback()
def door(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A debugger for simulated kernel memory. `kmemscope FILE` opens the screen."""


# -- machines --------------------------------------------------------------------------------------


@app.command()
def boot(
    machine: Annotated[Path, typer.Argument(metavar="MACHINE.toml")],
    as_json: JsonOption = False,
    levels: Annotated[bool, typer.Option("--levels", help="Print <LEVEL> before lines.")] = False,
) -> None:
    """Boot a machine and print its kernel log, byte for byte."""
    from kernel_sim.boot import boot as boot_machine
    from snapshots.opening import read_config

    log = boot_machine(read_config(machine)).kernel_log
    if as_json:
        typer.echo(json.dumps([{"level": level, "text": text} for level, text in log]))
        return
    for level, text in log:
        typer.echo(f"<{level}>{text}" if levels else text)


# -- logs ------------------------------------------------------------------------------------------


def _replay(path: Path, machine: Path | None) -> ReplayReport:
    from snapshots.logs.replay import replay_path
    from snapshots.opening import read_machine_toml

    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    return replay_path(path, read_machine_toml(machine) if machine else None)


def _save(report: ReplayReport, output: Path) -> None:
    from snapshots.recording import save_timeline

    if report.timeline is None:
        raise ConfigError(f"{report.path}: holds no run of a machine: there is nothing to save")
    save_timeline(output, report.timeline, report.origin())


@app.command()
def replay(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH")],
    machine: MachineOption = None,
    as_json: JsonOption = False,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE.kms", help="Save the run as a recording.")
    ] = None,
    why: Annotated[bool, typer.Option("--why", help="Tell every inferred choice.")] = False,
) -> None:
    """Replay logs of real kernels, machines' folders and golden files; compare every placement.

    A folder that holds several of them is all of them.
    """
    from snapshots.logs.replay_paths import paths_under
    from tui.debugger.render import printable

    if output is not None:
        if len(paths) > 1:
            raise typer.BadParameter("-o goes with one PATH")
        check_output(output, paths)
    all_good = True
    wanted = paths if output is not None else [one for path in paths for one in paths_under(path)]
    for path in wanted:
        report = _replay(path, machine)
        if output is not None:
            _save(report, output)
        if as_json:
            typer.echo(json.dumps(report.to_json() | {"summary": report.summary}))
        else:
            for line in report.lines(why):
                typer.echo(printable(line))
        all_good = all_good and report.ok
    raise typer.Exit(GOOD if all_good else FOUND)


@app.command("import")
def import_log(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Log, or a machine's folder.")],
    output: Annotated[Path, typer.Option("-o", metavar="FILE.kms", help="The recording to write.")],
    machine: MachineOption = None,
) -> None:
    """Make a recording of a log of a real kernel."""
    from tui.debugger.render import printable

    check_output(output, [log])
    report = _replay(log, machine)
    _save(report, output)
    for line in report.lines():
        typer.echo(printable(line))
    typer.echo(f"saved to {output}")
    raise typer.Exit(GOOD if report.ok else FOUND)


# -- recordings ------------------------------------------------------------------------------------

screen.register(app)
recordings.register(app)
recover.register(app)
follow.register(app)
mending.register(app)
diff.register(app)
figures.register(app)
declarations.register(app)
exports.register(app)
shrink.register(app)
compare.register(app)


# -- commands --------------------------------------------------------------------------------------


@app.command(context_settings={"ignore_unknown_options": True})
def show(
    file: FileArgument,
    view: Annotated[str, typer.Argument(metavar="VIEW")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARG")] = None,
    at: Annotated[str, typer.Option("--at", metavar="POSITION")] = "end",
    machine: MachineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a view at a position: chunks, areas 1, whatis 0x…, walk 0x…, stats, log …"""
    import shlex

    from tui.debugger.commands.looking import view_names
    from tui.debugger.console import answer_now
    from tui.debugger.errors import CommandError

    if view not in view_names():
        raise CommandError(f"{view!r} is no view; there are: {' '.join(view_names())}")
    session = open_session(file, machine)
    session.go_now(session.position(at))
    text, ok = answer_now(session, shlex.join([view, *(arguments or ())]), as_json)
    typer.echo(text)
    raise typer.Exit(GOOD if ok else FOUND)


@app.command("run")
@app.command()
def script(
    commands: Annotated[str, typer.Argument(metavar="FILE.txt", help="Commands; - is stdin.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="RECORDING|MACHINE.toml", help="Else an example.")
    ] = None,
    machine: MachineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out commands from a text file, one a line; stop at the first that is wrong."""
    from snapshots.logs.text_source import read_lines
    from tui.debugger.console import run_lines

    source = "stdin" if commands == STDIN else commands
    lines = sys.stdin if commands == STDIN else read_lines(Path(commands))
    session = open_session(file, machine)
    code = GOOD
    with recover.autosaved(session, file or example(), machine, keep_unsaved=False):
        for answered in run_lines(session, lines, source, as_json):
            typer.echo(answered.text)
            code = code if answered.ok else FOUND
    raise typer.Exit(code)


@app.command()
def console(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Else an example.")] = None,
    machine: MachineOption = None,
) -> None:
    """Prompt for commands, line by line; help lists them, quit leaves."""
    from tui.prompt import prompt_loop

    session = open_session(file, machine)
    with recover.autosaved(session, file or example(), machine):
        prompt_loop(session)


if __name__ == "__main__":
    main()
