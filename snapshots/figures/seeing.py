"""Command lines that show a figure: an ordinary look at one of the machines in examples/figures.

What takes more than a few calls to get there is saved as a recording first.
"""

from __future__ import annotations

from typing import Final

FOLDER: Final = "examples/figures"


def show(machine: str, *words: str) -> str:
    """Return the command that shows a view of a machine as it is after boot."""
    return " ".join(["kmemscope show", f"{FOLDER}/{machine}.toml", *words])


def script(name: str, machine: str) -> str:
    """Return the command that carries out a script of the folder on a machine."""
    return f"kmemscope script {FOLDER}/{name}.txt {FOLDER}/{machine}.toml"


def boot_log(machine: str) -> str:
    """Return the command that prints what a machine says as it boots."""
    return f"kmemscope boot {FOLDER}/{machine}.toml"


def saved(number: str, *words: str) -> str:
    """Return the commands that save a figure's run, and show a view of it at its end."""
    file = f"figure-{number}.kms"
    return both(
        f"kmemscope figures {number} --save {file}", f"kmemscope show {file} {' '.join(words)}"
    )


def both(*commands: str) -> str:
    """Return commands that are given one after the other."""
    return "; ".join(commands)
