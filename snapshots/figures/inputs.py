"""What the mails' figures are made of: sizes of builds, machines and workloads. Everything else is measured.

    kmemscope figures --set static_bytes=20000 --set km_layouts=4x36,5x64

An input that is moved moves the machines that are booted, and with them the figures. What a mail printed
is then another machine's, so that no figure is compared with a mail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final, NamedTuple, TypeAlias, TypeVar

from kernel_sim.errors import ConfigError

Layout: TypeAlias = tuple[int, int]  # units and KiB of each
Input: TypeAlias = int | tuple[int, ...] | tuple[Layout, ...]
T = TypeVar("T")

KIB: Final = 1024
DIGITS_MAX: Final = 12
LIST_MAX: Final = 12


class Limits(NamedTuple):
    """What an input means, and between what its numbers lie."""

    meaning: str
    lowest: int
    highest: int


def _input(default: T, meaning: str, lowest: int, highest: int) -> T:
    """Return a field; it is declared to be its value, as field() itself is."""
    return field(default=default, metadata={"limits": Limits(meaning, lowest, highest)})


@dataclass(frozen=True, slots=True)
class FigureInputs:
    """The inputs, by default those of the mails."""

    static_bytes: int = _input(17892, ".data.percpu of a 2.6.17-rc1 build for i386", 64, 256 * KIB)
    offset_section_bytes: int = _input(4368, ".data.percpu_offset of that build", 4, 48 * KIB)
    enough_room_bytes: int = _input(32768, "PERCPU_ENOUGH_ROOM", 512, 256 * KIB)
    line_bytes: tuple[int, ...] = _input((32, 64, 128), "cache lines of i386 processors", 16, 128)
    usual_line_bytes: int = _input(128, "the cache line where one is enough", 16, 128)
    nr_cpus: int = _input(8, "NR_CPUS that i386 was built with by default", 2, 255)
    small_box_cpus: int = _input(2, "CPUs of the mail's own machine", 2, 64)
    large_box_cpus: int = _input(64, "processors of the mail's example of waste", 1, 64)
    many_nr_cpus: int = _input(512, "NR_CPUS of a 512-way machine", 2, 4096)
    unit_bytes: int = _input(128 * KIB, "UNIT_SIZE", 64 * KIB, 512 * KIB)
    area_bytes: int = _input(512, "size of the area in the mail's example", 4, 4096)
    area_linear_bytes: int = _input(
        134 * KIB, "where that area is, counted linearly", 64 * KIB, 1024 * KIB
    )
    nr_units: int = _input(4, "units of each chunk that the mail draws", 2, 32)
    km_layouts: tuple[Layout, ...] = _input(
        ((2, 32), (3, 32), (4, 36), (4, 64), (5, 64), (6, 128), (1, 36)),
        "units of a chunk in kernel memory, and KiB of each",
        1,
        1024,
    )
    module_variables: int = _input(16, "per-CPU variables of a module", 1, 64)
    refill_seed: int = _input(1, "seed of the workload that refills blocks", 0, 1 << 30)
    refill_blocks: int = _input(8, "blocks that it may have", 1, 32)
    refill_rounds: int = _input(8, "how often it frees and refills", 1, 32)
    refill_freed_percent: int = _input(30, "how much of what lives it frees each time", 1, 99)
    refill_smallest_bytes: int = _input(4, "its smallest request", 1, 8192)
    refill_largest_bytes: int = _input(64, "its largest request", 1, 8192)


AS_MAILED: Final = FigureInputs()


def input_rows(inputs: FigureInputs) -> list[tuple[str, str, str]]:
    """Return (name, value, meaning) of every input."""
    return [
        (name, _shown(getattr(inputs, name)), limits.meaning) for name, limits in _limits().items()
    ]


def moved_inputs(inputs: FigureInputs) -> list[str]:
    """Return `name=value` of every input that is not the mails'."""
    return [
        f"{each.name}={_shown(value)}"
        for each in fields(inputs)
        if (value := getattr(inputs, each.name)) != getattr(AS_MAILED, each.name)
    ]


def read_inputs(settings: Iterable[str]) -> FigureInputs:
    """Return the inputs with `NAME=VALUE` settings. Raises ConfigError naming what is wrong."""
    limits = _limits()
    values: dict[str, Input] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name not in limits or not equals:
            known = ", ".join(limits)
            raise ConfigError(f"--set {setting}: no input {name!r}; expected NAME=VALUE of {known}")
        values[name] = _value(name, text, limits[name])
    inputs = replace(AS_MAILED, **values)  # type: ignore[arg-type]
    for lesser, greater in (
        ("refill_smallest_bytes", "refill_largest_bytes"),
        ("small_box_cpus", "nr_cpus"),
        ("small_box_cpus", "many_nr_cpus"),
    ):
        limit = getattr(inputs, greater)
        if getattr(inputs, lesser) > limit:
            value = getattr(inputs, lesser)
            raise ConfigError(f"--set {lesser}={value}: expected at most {greater}, {limit}")
    return inputs


def _limits() -> Mapping[str, Limits]:
    return {each.name: each.metadata["limits"] for each in fields(FigureInputs)}


def _value(name: str, text: str, limits: Limits) -> Input:
    default: Input = getattr(AS_MAILED, name)
    if isinstance(default, int):
        return _number(name, text, limits)
    words = text.split(",")
    if len(words) > LIST_MAX:
        raise ConfigError(f"--set {name}: {len(words)} values; expected at most {LIST_MAX}")
    if isinstance(default[0], int):
        return tuple(_number(name, word, limits) for word in words)
    return tuple(_layout(name, word, limits) for word in words)


def _layout(name: str, text: str, limits: Limits) -> Layout:
    units, cross, kib = text.partition("x")
    if not cross:
        raise ConfigError(f"--set {name}: {text!r}; expected UNITSxKIB such as 4x36")
    return _number(name, units, limits), _number(name, kib, limits)


def _number(name: str, text: str, limits: Limits) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    if not is_number or not limits.lowest <= int(text) <= limits.highest:
        raise ConfigError(
            f"--set {name}={text}: expected a number from {limits.lowest} to {limits.highest}"
            f" ({limits.meaning})"
        )
    return int(text)


def _shown(value: Input) -> str:
    if isinstance(value, int):
        return str(value)
    return ",".join(str(one) if isinstance(one, int) else f"{one[0]}x{one[1]}" for one in value)
