"""Ctrl-C ends the command in one line with exit code 130, whatever is under way.

    modules load      nothing has to be put in order: at once
    a verb works      KeyboardInterrupt, so that what it has begun is put in order first
    it is at an end   nothing is left to be interrupted: no more

Imports next to nothing: what comes first cannot be interrupted in one line before it is there.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings

TYPE_CHECKING = False  # as typing has it, which takes long to load
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

COMMAND: Final = "kmemscope"
INTERRUPTED: Final = 130
LINE: Final = f"{COMMAND}: interrupted\n".encode()
STDERR: Final = 2


def is_command(module: str) -> bool:
    """Say whether this process is the command and not a program that imports a module of it."""
    program = sys.argv[0].replace("\\", "/").rpartition("/")[2].partition(".")[0]
    return module == "__main__" or program == COMMAND


def end(*_: object) -> NoReturn:
    """Say that it was interrupted and leave, without what Python would say at its exit."""
    try:
        os.write(STDERR, LINE)
    finally:
        os._exit(INTERRUPTED)


def end_on_interrupt() -> None:
    """From now on an interrupt ends this process at once; one that is ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, end)
    sys.unraisablehook = _tell
    # A call that an interrupt kept from beginning is no news.
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)


def ends_on_interrupt() -> bool:
    """Say whether end_on_interrupt() rules here: not in a test, not where it is ignored."""
    return sys.unraisablehook is _tell


def interruptible(work: Callable[[], object]) -> object:
    """Do some work, into which an interrupt comes as KeyboardInterrupt."""
    if not ends_on_interrupt():
        return work()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return work()
    finally:
        signal.signal(signal.SIGINT, end)


def no_more_interrupts() -> None:
    """From now on interrupts come too late: all is done and said."""
    if ends_on_interrupt():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tell(ignored: sys.UnraisableHookArgs) -> None:
    """End where Python would go on: an interrupt in a destructor or a callback reaches nobody."""
    if ignored.exc_type is KeyboardInterrupt:
        end()
    sys.__unraisablehook__(ignored)
