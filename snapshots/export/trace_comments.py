"""What an exported log tells in comments, so that it is read back to the very same recording.

    # kmemscope trace 1                          the first line; another number: another language
    # kmemscope machine {"name": "numa2", …}     a statement: a word and a value in JSON
    # kmemscope machine+ "} …"                   a long one goes on in as many lines as it takes
    # kmemscope input [812, "free_percpu", 1, [225280], 7, "ip-792"]

The kernel's own readers, and ours of real logs, pass over lines that begin with #. What is wrong in a
statement is told with line and column, and nothing in it is believed before it was looked at: sizes,
types and ranges are bounded, bytes are base64.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn, cast

from kernel_sim.call import Arg
from kernel_sim.inputs import Input
from snapshots.errors import TraceError

VERSION = 1
FIRST_LINE = f"# kmemscope trace {VERSION}\n"
ANY_VERSION = re.compile(r"# kmemscope trace ([0-9]{1,9})\s*")
STATEMENT = re.compile(r"# kmemscope ([a-z]{1,16})(\+?) ")
PREFIX = "# kmemscope"
PIECE_CHARS = 4000  # of a value in one line
STATEMENT_CHARS_MAX = 96 << 20  # a segment's modules, as base64
ARGS_MAX = 64
INT_MAX = (1 << 64) - 1
BYTES_KEY = "base64"
INPUT_ITEMS = 6


class Statement(NamedTuple):
    """A word, its value, and where its text stands: pieces of a line each, for messages."""

    word: str
    value: object
    line_no: int


@dataclass(slots=True)
class CommentReader:
    """Puts statements together, line by line; source names the file in messages."""

    source: str
    word: str = ""
    pieces: list[str] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)  # line and column of each piece
    nr_chars: int = 0

    def take(self, line: str, line_no: int) -> Statement | None:
        """Take a comment line of ours; returns the statement before it, which is complete now.

        Raises: TraceError with line and column.
        """
        found = STATEMENT.match(line)
        if found is None:
            self.refuse(line_no, len(PREFIX) + 1, f"{line[:60]!r}; expected a word and a value")
        word, is_more = found[1], bool(found[2])
        if is_more and word != self.word:
            self.refuse(line_no, 1, f"a piece of {word!r} that nothing precedes")
        done = None if is_more else self.finish()
        piece = line[found.end() :].rstrip("\n")
        self.nr_chars += len(piece)
        if self.nr_chars > STATEMENT_CHARS_MAX:
            self.refuse(line_no, 1, f"more than {STATEMENT_CHARS_MAX} characters in one statement")
        self.word = word
        self.pieces.append(piece)
        self.places.append((line_no, found.end() + 1))
        return done

    def finish(self) -> Statement | None:
        """Return the statement that was still open, None if there is none. Raises: TraceError."""
        if not self.word:
            return None
        text = "".join(self.pieces)
        line_no = self.places[0][0]
        try:
            value: object = json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as problem:
            self.refuse(*self._place_of(problem.pos), f"no JSON: {problem.msg}")
        except (ValueError, RecursionError) as problem:
            text = "nested too deeply" if isinstance(problem, RecursionError) else str(problem)
            self.refuse(*self.places[0], f"no JSON that can be used: {text}")
        done = Statement(self.word, value, line_no)
        self.word, self.pieces, self.places, self.nr_chars = "", [], [], 0
        return done

    def refuse(self, line_no: int, column: int, problem: str) -> NoReturn:
        """Raise the error about a place."""
        raise TraceError(f"{self.source}: line {line_no}, column {column}: {problem}")

    def _place_of(self, at: int) -> tuple[int, int]:
        """Return line and column of a character of the value."""
        for piece, (line_no, column) in zip(self.pieces, self.places, strict=True):
            if at <= len(piece):
                return line_no, column + at
            at -= len(piece)
        return self.places[-1]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that can be used")


def statement_lines(word: str, value: object) -> Iterator[str]:
    """Yield the lines of a statement, pure ASCII, each with its newline."""
    text = json.dumps(value)
    yield f"{PREFIX} {word} {text[:PIECE_CHARS]}\n"
    for at in range(PIECE_CHARS, len(text), PIECE_CHARS):
        yield f"{PREFIX} {word}+ {text[at : at + PIECE_CHARS]}\n"


def input_row(given: Input) -> list[object]:
    """Return an input as JSON has it."""
    args = [
        {BYTES_KEY: base64.b64encode(arg).decode()} if isinstance(arg, bytes) else arg
        for arg in given.args
    ]
    return [given.step, given.do, given.cpu, args, given.line, given.by]


def input_from_row(row: object) -> Input:
    """Return the input that input_row() wrote. Raises ValueError, saying what is expected."""
    if not isinstance(row, list) or len(row) != INPUT_ITEMS:
        raise ValueError("expected [step, call, CPU, [arguments], line, task]")
    step, do, cpu, args, line, by = cast("list[object]", row)
    for name, number in (("step", step), ("CPU", cpu), ("line", line)):
        if type(number) is not int or not 0 <= number < 1 << 62:
            raise ValueError(f"{name} is {number!r:.40}; expected a whole number from 0")
    if not isinstance(args, list) or len(args) > ARGS_MAX:
        raise ValueError(f"expected a list of at most {ARGS_MAX} arguments")
    return Input(
        cast("int", step), _text(do), cast("int", cpu), tuple(map(_argument, args)),
        cast("int", line), _text(by),
    )  # fmt: skip


def _argument(value: object) -> Arg:
    if isinstance(value, dict):
        packed = value.get(BYTES_KEY)
        if len(value) != 1 or not isinstance(packed, str):
            raise ValueError(f'an argument is {value!r:.40}; expected {{"{BYTES_KEY}": "…"}}')
        try:
            return base64.b64decode(packed, validate=True)
        except (binascii.Error, ValueError) as problem:
            raise ValueError(f"an argument is no base64: {problem}") from problem
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(1 << 63) <= value <= INT_MAX:
            raise ValueError(f"an argument is {value!r:.40}; expected 64 bits")
        return value
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40}; expected a text, a number, a truth or bytes")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise ValueError(f"a text holds half a character: {problem.reason}") from problem
    return value
