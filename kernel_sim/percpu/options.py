"""Switches of a per-CPU system: which era, which variant, which bug as posted.

    [percpu]
    system = "chunk-2009"
    [percpu.options]
    stage = "v1"

A system declares its switches where it is written; a description that sets one it does not have, or one
to a value that cannot be, is refused with what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from kernel_sim.config_table import ConfigTable

OptionValue: TypeAlias = int | bool | str
OptionValues: TypeAlias = tuple[tuple[str, OptionValue], ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One switch. A text default takes choices; a number takes lowest and highest."""

    key: str
    default: OptionValue
    meaning: str
    choices: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 1 << 30


def read_options(table: ConfigTable, options: tuple[Option, ...]) -> OptionValues:
    """Return the switches that are set to something else than their default, in declared order.

    Raises ConfigError for an unknown key or a value that cannot be.
    """
    values = ((option, _read(table, option)) for option in options)
    return tuple((option.key, value) for option, value in values if value != option.default)


def option_values(options: tuple[Option, ...], values: OptionValues) -> Mapping[str, OptionValue]:
    """Return every switch with its value, defaults filled in."""
    return {option.key: option.default for option in options} | dict(values)


def _read(table: ConfigTable, option: Option) -> OptionValue:
    default = option.default
    if isinstance(default, bool):
        return table.boolean(option.key, default)
    if isinstance(default, int):
        return table.integer(option.key, default, lowest=option.lowest, highest=option.highest)
    return table.choice(option.key, option.choices, default)
