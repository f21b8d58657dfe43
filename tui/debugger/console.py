"""The command line without a terminal: a line in, an answer out. Prints nothing, reads nothing.

    "alloc 1 64 --json"  ──►  words  ──►  command and values  ──►  Output

Whatever is typed, an answer or a CommandError comes of it.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kernel_sim.errors import KernelSimError
from tui.debugger.commands.catalogue import REGISTRY
from tui.debugger.commands.registry import (
    BOTH,
    TABLE_ONLY,
    TEXT_ONLY,
    Seat,
    find_command,
)
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.render import output_json, output_text
from tui.debugger.session import Progress, Session

COMMENT = "#"
JSON = "--json"
LINE_CHARS_MAX = 10_000
MESSAGE_CHARS_MAX = 1200


def split_words(line: str) -> list[str]:
    """Return the words of a line; quotes keep blanks together. Raises CommandError."""
    if len(line) > LINE_CHARS_MAX:
        raise CommandError(f"a line of {len(line)} characters: expected at most {LINE_CHARS_MAX}")
    try:
        return shlex.split(line)
    except ValueError as problem:
        raise CommandError(f"{line.strip()[:40]!r}: {problem}") from problem


async def execute(
    session: Session,
    line: str,
    progress: Progress | None = None,
    *,
    wants: str = BOTH,
    rows_max: int | None = None,
) -> Output:
    """Carry out one line. Raises CommandError, and nothing else, if that cannot be.

    wants, rows_max: see Seat; what nobody looks at need not be made.
    """
    try:
        output = await _carry_out(session, line, Seat(session, progress, wants, rows_max))
    except CommandError as problem:
        if session.autosave is not None:
            await session.autosave.note()  # it may have done something before it could not go on
        raise _bounded(problem) from problem
    if session.autosave is None:
        return output
    await session.autosave.note()
    return output.with_said(session.autosave.take_said())


def _bounded(problem: CommandError) -> CommandError:
    """Return the error with no more text than fits a screen: it repeats what was typed."""
    text = str(problem)
    if len(text) <= MESSAGE_CHARS_MAX:
        return problem
    half = MESSAGE_CHARS_MAX // 2
    return CommandError(f"{text[:half]} … {text[-half:]}")


async def _carry_out(session: Session, line: str, seat: Seat) -> Output:
    words = [word for word in split_words(line) if word != JSON]
    if not words or words[0].startswith(COMMENT):
        return Output()
    command = find_command(REGISTRY, words[0])
    try:
        values = command.values(session, words[1:])
        return await command.carry(seat, *values)
    except CommandError:
        raise
    except KernelSimError as problem:
        raise CommandError(f"{command.name}: {problem}") from problem
    except Exception as problem:
        if not session.timeline.is_foreign:
            raise
        raise CommandError(f"{command.name}: {session.timeline.blamed(problem)}") from problem


async def answer(session: Session, line: str, as_json: bool = False) -> tuple[str, bool]:
    """Return an answer as text or JSON, and whether all was well. Raises CommandError."""
    as_json = as_json or line.split()[-1:] == [JSON]
    output = await execute(session, line, wants=TABLE_ONLY if as_json else TEXT_ONLY)
    return output_json(output) if as_json else output_text(output), output.ok


def answer_now(session: Session, line: str, as_json: bool = False) -> tuple[str, bool]:
    """Return an answer where nothing else runs. Raises CommandError, KeyboardInterrupt."""
    try:
        return asyncio.run(answer(session, line, as_json))
    except asyncio.CancelledError as problem:  # as Ctrl-C shows at some moments
        raise KeyboardInterrupt from problem


@dataclass(frozen=True, slots=True)
class Answered:
    """A script's line and what came of it."""

    line_no: int
    text: str
    ok: bool


def run_lines(
    session: Session, lines: Iterable[str], source: str, as_json: bool = False
) -> Iterator[Answered]:
    """Carry out a script line by line. Raises CommandError at the first bad one, naming the line."""
    for line_no, line in enumerate(lines, 1):
        try:
            text, ok = answer_now(session, line, as_json)
        except CommandError as problem:
            raise CommandError(f"{source}: line {line_no}: {problem}") from problem
        if text:
            yield Answered(line_no, text, ok)


def complete(session: Session, line: str) -> list[str]:
    """Return what the last word of a line could become, in order of the registry."""
    words = line.split()
    last = "" if not words or line[-1:].isspace() else words.pop()
    if not words:
        return [name for name in REGISTRY if name.startswith(last)]
    command = REGISTRY.get(words[0])
    argument = command.argument_at(len(words) - 1) if command else None
    if argument is None:
        return []
    return [word for word in argument.kind.offer(session) if word.startswith(last)]
