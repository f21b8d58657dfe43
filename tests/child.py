"""A process that a test starts and talks to: it is dead when the test has done with it, whatever went wrong.

    with running(command, stdout=PIPE) as child:      SECONDS_MAX later it is killed: a read of its output
        child.stdout.readline()                       ends, and what was expected of it is not there
                                                      left: killed if it still runs, and waited for

Popen alone waits for ever for a child that waits for the test.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
SECONDS_MAX = 60.0


@contextmanager
def running(
    command: Sequence[str], seconds: float = SECONDS_MAX, **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """Start a process in the project's folder; it lives no longer than the block, or so many seconds."""
    with subprocess.Popen(command, cwd=ROOT, **options) as child:
        timer = threading.Timer(seconds, child.kill)
        timer.daemon = True
        timer.start()
        try:
            yield child
        finally:
            timer.cancel()
            timer.join()
            if child.poll() is None:
                child.kill()


def command_line(*words: object) -> list[str]:
    """Return what starts the command with these words."""
    return [sys.executable, "-m", "tui.cli", *map(str, words)]


def line_with(stream: IO[str], word: str) -> str:
    """Read up to the first line with a word in it. Raises AssertionError if the output ends before."""
    for line in stream:
        if word in line:
            return line
    raise AssertionError(f"the output ended, and no line with {word!r} came")
