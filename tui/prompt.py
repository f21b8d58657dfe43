"""The line prompt: reads a line, prints the answer, completes words with the tab key."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from tui.debugger.console import answer_now, complete
from tui.debugger.errors import CommandError
from tui.debugger.render import printable
from tui.debugger.session import Session

LEAVE = ("quit", "exit", "q")


def prompt_loop(session: Session) -> None:
    """Carry out lines from stdin until there are no more, or until somebody wants to leave.

    A wrong line is told and the next one read; Ctrl-C stops a long move where it is.
    """
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        _offer_words(lambda text: complete(session, text))
        print(f"{printable(session.name)}: steps 0 to {session.end_step}; help, quit")
    while True:
        try:
            line = input(f"({session.step}) " if is_terminal else "")
        except EOFError:
            break
        if line.strip() in LEAVE:
            break
        _carry_out(session, line)


def _carry_out(session: Session, line: str) -> None:
    try:
        text, _ = answer_now(session, line)
    except CommandError as problem:
        text = printable(str(problem))
    except KeyboardInterrupt:
        text = f"interrupted at step {session.step}"
    if text:
        print(text, flush=True)


def _offer_words(candidates: Callable[[str], list[str]]) -> None:
    """Let the tab key complete words, where Python was built with readline."""
    with contextlib.suppress(ImportError):
        import readline

        def completer(text: str, state: int) -> str | None:
            found = candidates(readline.get_line_buffer()[: readline.get_endidx()])
            return f"{found[state]} " if state < len(found) else None

        readline.set_completer_delims(" ")
        readline.set_completer(completer)
        readline.parse_and_bind("tab: complete")
