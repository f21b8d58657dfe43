"""A place in a recording as one string that can be pasted: who gets it sees what you see.

    run.kms#step=812&branch=atomic&pane=chunks&sel=chunk:1:0x340
    └ file  └ position, any form   └ listing   └ what the cursor is on, as that listing understands it

Only `step` is needed; a file's own characters `%`, `#` and blanks are written %25, %23 and %20.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from tui.debugger.errors import CommandError

FIELDS = ("step", "branch", "pane", "sel")
PLACE_CHARS_MAX = 8192
SAFE_IN_PATH = "/~+,=:@()"
SAFE_IN_VALUE = "/:@,+.-*"
EXPECTED = "expected FILE.kms#step=812, and perhaps &branch=…&pane=…&sel=…"


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody stands: all but the path and step may be empty."""

    path: str
    step: str = ""
    branch: str = ""
    pane: str = ""
    sel: str = ""

    def __str__(self) -> str:
        """Return the string that parse_place() reads."""
        fields = [
            f"{name}={quote(value, safe=SAFE_IN_VALUE)}"
            for name in FIELDS
            if (value := getattr(self, name))
        ]
        path = quote(self.path, safe=SAFE_IN_PATH)
        return f"{path}#{'&'.join(fields)}" if fields else path


def parse_place(text: str) -> Place:
    """Return the place that a string names. Raises CommandError, naming what is wrong in it."""
    if len(text) > PLACE_CHARS_MAX:
        raise CommandError(f"a place of {len(text)} characters: expected at most {PLACE_CHARS_MAX}")
    path, hash_mark, rest = text.partition("#")
    values: dict[str, str] = {}
    for field in rest.split("&") if hash_mark else ():
        name, equals, value = field.partition("=")
        if name not in FIELDS or not equals or not value or name in values:
            raise CommandError(f"{text!r:.200}: {field!r:.80} is none of its fields: {EXPECTED}")
        values[name] = _plain(value, text)
    path = _plain(path, text)
    if not path:
        raise CommandError(f"{text!r:.200} names no file: {EXPECTED}")
    return Place(path, **values)


def is_place(text: str) -> bool:
    """Say whether a text is more than the name of a file."""
    return "#step=" in text or any(f"#{name}=" in text for name in FIELDS)


def _plain(text: str, whole: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError as problem:
        raise CommandError(f"{whole!r:.200}: {text!r:.80} is no UTF-8 behind its %") from problem
    if not plain.isprintable():
        raise CommandError(f"{whole!r:.200}: {text!r:.80} holds characters that do not print")
    return plain
