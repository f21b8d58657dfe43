"""Reading a file of /proc piece by piece: what is wrong is named with line and column.

    scan = LineScan("buddyinfo", 3, "Node 0, zone      DMA      1 …")
    scan.word("Node ")  scan.number()  scan.word(", zone")  …  scan.end()

Every piece has a bound, so a stranger's text costs no more than reading it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snapshots.errors import InputError
from snapshots.logs.trace_line import excerpt

TEXT_CHARS_MAX = 64 << 20
LINES_MAX = 1 << 21  # zoneinfo of 64 nodes with 4096 CPUs has 1.4 million
LINE_CHARS_MAX = 1 << 16
ROWS_MAX = 1 << 18  # of what is kept: zones, areas, modules
NUMBER = re.compile(r"([0-9]{1,20})(?![0-9])")
HEX = re.compile(r"([0-9a-f]{1,16})(?![0-9a-f])")
SPACES = re.compile(r" *")


@dataclass(slots=True)
class LineScan:
    """One line and how far it has been read; line_no counts from 1, column from 0."""

    source: str
    line_no: int
    line: str
    column: int = 0

    def error(self, expected: str) -> InputError:
        """Return the error to raise about what stands at the column."""
        place = f"{self.source}: line {self.line_no}, column {self.column + 1}"
        return InputError(f"{place}: {excerpt(self.line, self.column)}; expected {expected}")

    def word(self, text: str) -> None:
        """Read this very text."""
        if not self.line.startswith(text, self.column):
            raise self.error(repr(text))
        self.column += len(text)

    def take(self, pattern: re.Pattern[str], expected: str) -> str:
        """Read what matches and return its first group."""
        found = pattern.match(self.line, self.column)
        if found is None:
            raise self.error(expected)
        self.column = found.end()
        return found[1]

    def spaces(self) -> None:
        """Read any number of spaces."""
        found = SPACES.match(self.line, self.column)
        self.column = found.end() if found else self.column

    def number(self, expected: str = "a number") -> int:
        """Read spaces and a decimal number below 2^64 or so."""
        self.spaces()
        return int(self.take(NUMBER, expected))

    def numbers(self, expected: str = "a number") -> tuple[int, ...]:
        """Read numbers between spaces up to the end, at least one."""
        found = [self.number(expected)]
        self.spaces()
        while not self.at_end:
            found.append(self.number(expected))
            self.spaces()
        return tuple(found)

    def hexadecimal(self, expected: str = "a hexadecimal number") -> int:
        """Read a number of at most 16 hexadecimal digits, in small letters."""
        return int(self.take(HEX, expected), 16)

    @property
    def at_end(self) -> bool:
        """Say whether all is read."""
        return self.column >= len(self.line)

    def end(self) -> None:
        """Make sure that all is read, but for spaces."""
        self.spaces()
        if not self.at_end:
            raise self.error("the end of the line")


def split_lines(text: str, source: str) -> list[str]:
    """Return the lines of a text without newlines; the last one may lack its newline.

    Raises: InputError if it is larger than any such file can be.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise InputError(f"{source}: {len(text)} characters; expected at most {TEXT_CHARS_MAX}")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if len(lines) > LINES_MAX:
        raise InputError(f"{source}: {len(lines)} lines; expected at most {LINES_MAX}")
    return lines


def scan_line(source: str, line_no: int, line: str) -> LineScan:
    """Return a line to be read. Raises: InputError if it is longer than any can be."""
    if len(line) > LINE_CHARS_MAX:
        raise InputError(
            f"{source}: line {line_no}: {len(line)} characters; expected at most {LINE_CHARS_MAX}"
        )
    return LineScan(source, line_no, line)


def scan_lines(text: str, source: str) -> Iterator[LineScan]:
    """Yield the lines of a text. Raises: InputError as split_lines() and scan_line() do."""
    for line_no, line in enumerate(split_lines(text, source), 1):
        yield scan_line(source, line_no, line)


def row_lines(text: str, source: str, expected: str) -> Iterator[LineScan]:
    """Yield the lines of a file that has one row a line.

    Raises: InputError for an empty line, or for more rows than any machine has.
    """
    for scan in scan_lines(text, source):
        if not scan.line or scan.line_no > ROWS_MAX:
            raise scan.error(f"{expected}, at most {ROWS_MAX} lines")
        yield scan


@dataclass(slots=True)
class TextScan:
    """The lines of a file in which lines belong together: which is next."""

    source: str
    lines: list[str]
    index: int = 0

    @classmethod
    def of(cls, text: str, source: str) -> TextScan:
        """Return a text at its first line."""
        return cls(source, split_lines(text, source))

    @property
    def at_end(self) -> bool:
        """Say whether no line is left."""
        return self.index >= len(self.lines)

    def next_begins(self, text: str) -> bool:
        """Say whether there is a next line and it begins so."""
        return not self.at_end and self.lines[self.index].startswith(text)

    def take(self, expected: str) -> LineScan:
        """Return the next line; expected says what it should be, for a text that ends here."""
        if self.at_end:
            raise InputError(f"{self.source}: ends after line {self.index}; expected {expected}")
        self.index += 1
        return scan_line(self.source, self.index, self.lines[self.index - 1])

    def take_line(self, text: str) -> None:
        """Read a line that has to be this very text, but for spaces at its end."""
        scan = self.take(repr(text))
        scan.word(text)
        scan.end()
