"""What all verbs of the command line share: exit codes, options, and how a file is opened for one.

A verb that loads much loads it inside its function: `kmemscope --help` waits for none of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kernel_sim.errors import ConfigError

if TYPE_CHECKING:
    from tui.debugger.session import Session

GOOD: Final = 0
FOUND: Final = 1  # a fault, a divergence, a check that failed
BAD_INPUT: Final = 2
NAME: Final = "kmemscope"
EXAMPLE: Final = Path("machines") / "numa2-4cpu.toml"
DEMO: Final = Path("demo.kms")  # a real machine's run, opened when no file is named

MachineOption = Annotated[
    Path | None, typer.Option("--machine", metavar="TOML", help="Machine of a log that tells none.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Recording, machine, log, folder or golden file.")
]


def open_session(path: Path | None, machine: Path | None = None, *, warn: bool = True) -> Session:
    """Open a file of any kind, or the example machine. What it has to say goes to stderr."""
    from snapshots.opening import open_any, read_machine_toml
    from tui.debugger.render import printable
    from tui.debugger.session import Session

    opened = open_any(path or example(), read_machine_toml(machine) if machine else None)
    if warn:
        for line in opened.lines:
            typer.echo(f"{NAME}: {printable(line)}", err=True)
    session = Session(opened.tree, opened.origin, name=opened.name)
    session.take_bookmarks(opened.bookmarks)
    session.path, session.recording = opened.path, opened.recording
    return session


def example(name: Path = EXAMPLE) -> Path:
    """Return an example that ships with the program: the machine to work on when none is named."""
    tui = Path(__file__).resolve().parents[1]
    for folder in (tui / "examples", tui.parent / "examples"):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"the example {name} is not installed; give a FILE")


def check_output(output: Path, paths: list[Path]) -> None:
    """Refuse to write over what is read. Raises ConfigError."""
    if output.exists() and any(path.exists() and path.samefile(output) for path in paths):
        raise ConfigError(f"{output}: this is what is read; give another file to write to")
