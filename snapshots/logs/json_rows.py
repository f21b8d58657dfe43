"""A file of JSON lines from a stranger, read field by field; what is wrong is named with its place.

{"seq": 0, "op": "alloc", "ptr": "0000000000037000"}      one object a line
  │
  └── row.integer("seq")   row.text("op", …)   row.address("ptr")   row.rows("chunks") …
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snapshots.errors import InputError

INTEGER_MAX = (1 << 64) - 1
LIST_MAX = 1 << 20
SHOWN_CHARS_MAX = 60


@dataclass(frozen=True, slots=True)
class JsonRow:
    """An object and where it stands: "states.jsonl.gz: line 3: chunks[0]"."""

    place: str
    values: dict[str, object]

    def error(self, key: str, problem: str) -> InputError:
        """Return the error to raise about a key."""
        return InputError(f"{self.place}: {key!r}: {problem}")

    def value(self, key: str) -> object:
        """Return what stands there; null counts as nothing."""
        value = self.values.get(key)
        if value is None:
            raise self.error(key, "missing; expected a value")
        return value

    def integer(self, key: str) -> int:
        """Return a whole number from 0 to 2^64 - 1."""
        return self._whole(key, self.value(key))

    def optional_integer(self, key: str) -> int | None:
        """Return a whole number, or None for null or nothing."""
        value = self.values.get(key)
        return None if value is None else self._whole(key, value)

    def text(self, key: str, *options: str) -> str:
        """Return a text, one of the options if there are any."""
        value = self.value(key)
        if not isinstance(value, str) or (options and value not in options):
            listed = " or ".join(repr(option) for option in options)
            raise self.error(key, f"{_shown(value)}; expected {listed or 'a text'}")
        return value

    def address(self, key: str) -> int:
        """Return a number written in hexadecimal, with or without 0x."""
        return self._address(key, self.value(key))

    def addresses(self, key: str) -> tuple[int, ...]:
        """Return a list of such numbers."""
        return tuple(self._address(key, entry) for entry in self._list(key))

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        return tuple(self._whole(key, entry) for entry in self._list(key))

    def tuples(self, key: str, length: int) -> tuple[tuple[int, ...], ...]:
        """Return a list of lists of so many whole numbers each."""
        found: list[tuple[int, ...]] = []
        for entry in self._list(key):
            if not isinstance(entry, list) or len(entry) != length:
                raise self.error(key, f"{_shown(entry)}; expected {length} numbers")
            found.append(tuple(self._whole(key, number) for number in entry))
        return tuple(found)

    def rows(self, key: str) -> Iterator[JsonRow]:
        """Yield the objects of a list."""
        for index, entry in enumerate(self._list(key)):
            yield self._row(f"{key}[{index}]", entry)

    def row(self, key: str) -> JsonRow:
        """Return an object inside this one."""
        return self._row(key, self.value(key))

    def _row(self, name: str, entry: object) -> JsonRow:
        if not isinstance(entry, dict):
            raise self.error(name, f"{_shown(entry)}; expected an object")
        return JsonRow(f"{self.place}: {name}", entry)

    def _list(self, key: str) -> list[object]:
        value = self.value(key)
        if not isinstance(value, list) or len(value) > LIST_MAX:
            raise self.error(key, f"{_shown(value)}; expected a list of at most {LIST_MAX} entries")
        return value

    def _whole(self, key: str, value: object) -> int:
        if type(value) is not int or not 0 <= value <= INTEGER_MAX:
            raise self.error(key, f"{_shown(value)}; expected a whole number from 0 to 2^64 - 1")
        return value

    def _address(self, key: str, value: object) -> int:
        digits = value.removeprefix("0x") if isinstance(value, str) else ""
        if not (0 < len(digits) <= 16 and digits.isascii() and digits.isalnum()):
            raise self.error(key, f'{_shown(value)}; expected an address such as "0x3ec00000"')
        try:
            return int(digits, 16)
        except ValueError:
            raise self.error(key, f"{_shown(value)}; expected hexadecimal digits") from None


def json_rows(lines: Iterable[str], source: str) -> Iterator[JsonRow]:
    """Yield the objects of a text, one a line; empty lines are none.

    Raises: InputError if a line is no JSON object.
    """
    for line_no, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{source}: line {line_no}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: {error}; expected one JSON object a line") from error
        if not isinstance(values, dict):
            raise InputError(f"{place}: {_shown(values)}; expected a JSON object")
        yield JsonRow(place, values)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number or a nesting beyond Python's limits
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
