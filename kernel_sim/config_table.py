"""One table of a machine's description, read key by key; every complaint names file, table and key.

    numa4.toml: [cpus] possible: '0-3,x': 'x' is no CPU; expected a list such as "0-3,8"
    ^ where     ^ label ^ key    ^ what is wrong           ^ what would be right

A table is plain data from a stranger: a TOML file or a recording.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kernel_sim.errors import ConfigError
from kernel_sim.topology import NR_CPUS_MAX, parse_cpu_list

ADDRESS_MAX = (1 << 64) - 1
TEXT_CHARS_MAX = 65536
SHOWN_CHARS_MAX = 60


def close_match(word: str, known: Sequence[str]) -> str:
    """Return " (did you mean ...?)" for the known word most like this one, or nothing."""
    if len(word) > SHOWN_CHARS_MAX:  # comparing costs the product of the lengths
        return ""
    matches = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def shown(value: object) -> str:
    """Return the value as it is put into a message: never longer than a line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 3] + "..."


def parse_address(value: object) -> int | None:
    """Return a number given as int or as text such as "0x3ec00000"; None if it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        digits = value.removeprefix("0x")
        if not (digits.isascii() and digits.isalnum()) or len(digits) > 20:
            return None
        try:
            value = int(digits, 16 if digits != value else 10)
        except ValueError:
            return None
    return value if isinstance(value, int) and 0 <= value <= ADDRESS_MAX else None


@dataclass(frozen=True, slots=True)
class ConfigTable:
    """A table; label is how the message calls it, keys are all that it may hold.

    Raises: ConfigError at once if source is no table or holds an unknown key, and from every
    reading method if a value is missing or wrong.
    """

    where: str
    label: str
    source: object
    keys: tuple[str, ...]
    values: Mapping[str, object] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, Mapping):
            place = f"{self.where}: {self.label}".rstrip()
            raise ConfigError(f"{place}: {shown(self.source)}; expected a table")
        object.__setattr__(self, "values", self.source)
        known = dict.fromkeys(self.keys)
        for key in self.values:
            if key not in known:
                hint = close_match(key, self.keys) if isinstance(key, str) else ""
                raise self.error(
                    str(key), f"unknown key{hint}; expected one of {', '.join(self.keys)}"
                )

    def error(self, key: str, problem: str) -> ConfigError:
        """Return the error to raise about a key."""
        if not key.isprintable() or len(key) > SHOWN_CHARS_MAX:
            key = shown(key)
        place = f"{self.label} {key}".strip()
        return ConfigError(f"{self.where}: {place}: {problem}")

    def table(self, key: str, keys: tuple[str, ...]) -> ConfigTable:
        """Return a table inside this one; an absent one is empty."""
        return ConfigTable(self.where, f"[{key}]", self.values.get(key, {}), keys)

    def inner(self, key: str, keys: tuple[str, ...]) -> ConfigTable:
        """Return a table inside this one, named with its place in it; an absent one is empty."""
        label = f"{self.label[:-1]}.{key}]"
        return ConfigTable(self.where, label, self.values.get(key, {}), keys)

    def has(self, key: str) -> bool:
        """Say whether the key was given."""
        return key in self.values

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; without a default the key must be there."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.error(key, f"{shown(value)}; expected a text")
        if len(value) > TEXT_CHARS_MAX:
            raise self.error(key, f"{len(value)} characters; expected at most {TEXT_CHARS_MAX}")
        return value

    def choice(self, key: str, options: Sequence[str], default: str | None = None) -> str:
        """Return one of the options."""
        value = self.text(key, default)
        if value not in options:
            listed = ", ".join(repr(option) for option in options)
            hint = close_match(value, options)
            raise self.error(key, f"{shown(value)}{hint}; expected one of {listed}")
        return value

    def integer(self, key: str, default: int | None = None, *, lowest: int, highest: int) -> int:
        """Return a whole number from lowest to highest."""
        value = self._value(key, default)
        if type(value) is not int or not lowest <= value <= highest:
            raise self.error(
                key, f"{shown(value)}; expected a whole number from {lowest} to {highest}"
            )
        return value

    def address(self, key: str, default: int) -> int:
        """Return an address, written as a number or as text such as "0xffffc90000000000"."""
        value = self._value(key, default)
        address = parse_address(value)
        if address is None:
            raise self.error(key, f'{shown(value)}; expected an address such as "0x3ec00000"')
        return address

    def cpu_list(
        self, key: str, default: str | None = None, *, nr_cpus_max: int = NR_CPUS_MAX
    ) -> tuple[int, ...]:
        """Return the CPUs of a list such as "0-3,8", ascending, each below nr_cpus_max."""
        text = self.text(key, default)
        try:
            return parse_cpu_list(text, nr_cpus_max=nr_cpus_max)
        except ConfigError as error:
            raise self.error(key, str(error)) from None

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"{shown(value)}; expected true or false")
        return value

    def sequence(self, key: str, *, entries_max: int) -> Sequence[object]:
        """Return a list of at most so many entries."""
        value = self._value(key, None)
        if not isinstance(value, list | tuple):
            raise self.error(key, f"{shown(value)}; expected a list")
        if len(value) > entries_max:
            raise self.error(key, f"{len(value)} entries; expected at most {entries_max}")
        return value

    def _value(self, key: str, default: object) -> object:
        value = self.values.get(key, default)
        if value is None:
            raise self.error(key, "missing; expected a value")
        return value
