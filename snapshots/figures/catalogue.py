"""All figures in their order, by number; who asks for some gets only those measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from kernel_sim.errors import ConfigError
from snapshots.figures import block_figures as block
from snapshots.figures import chunk_figures as chunks
from snapshots.figures import claim_figures as claims
from snapshots.figures import contradiction_figures as contradictions
from snapshots.figures import km_figures as km
from snapshots.figures import legacy_figures as legacy
from snapshots.figures import property_figures as properties
from snapshots.figures import reference_figures as references
from snapshots.figures import rostedt_figures as rostedt
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Figure
from snapshots.figures.inputs import FigureInputs

Measure: TypeAlias = Callable[[Bench], Figure]

FIGURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {
        "1": legacy.enough_room,
        "2": legacy.static_section,
        "3": legacy.spare_of_one,
        "4": legacy.spare_of_two,
        "5": legacy.spare_of_many,
        "6": legacy.largest_module,
        "7": rostedt.offset_section,
        "8": rostedt.saved_on_first,
        "9": rostedt.saved_on_two,
        "10": rostedt.saved_on_default,
        "11": legacy.default_cpus,
        "12": legacy.example_cpus,
        "13": block.management,
        "14": block.stack,
        "15": block.many_cpus,
        "16": block.utilisation,
        "17": references.one_less,
        "18": chunks.place,
        "19": chunks.size,
        "20": chunks.units,
        "21": chunks.bases,
        "22": chunks.flags,
        "23": km.waste,
        "24": km.two_groups,
        "25": rostedt.slack,
        "26": rostedt.window,
        "R1": references.static_area,
        "R2": references.pointer_array,
        "R3": references.block,
        "R4": references.offset_pointer,
        "R5": references.all_in_vm,
        "R6": references.hybrid,
        "R7": references.chunk,
        "R8": references.km_chunk,
        "R9": references.bitmap,
        "P1": properties.unwinding,
        "P2": properties.hot_added,
        "P3": properties.in_unison,
        "P4": km.upfront,
        "C1": claims.less_than_pointer_array,
        "C2": claims.less_than_static,
        "C3": claims.node_local,
        "C4": claims.array_is_remote,
        "C5": claims.possible_only,
        "C6": claims.no_pointer_array,
        "X1": contradictions.not_zeroed,
        "X2": contradictions.overrun,
        "X3": contradictions.neighbours,
    }
)


def numbers_of(words: Iterable[str]) -> tuple[str, ...]:
    """Return the numbers that words name, in order of the list; all if there are none. Raises ConfigError."""
    wanted = dict.fromkeys(word.upper() for word in words)
    for word in wanted:
        if word not in FIGURES:
            raise ConfigError(f"no figure {word!r}; expected some of {' '.join(FIGURES)}")
    return tuple(number for number in FIGURES if not wanted or number in wanted)


def figures_of(inputs: FigureInputs, numbers: Iterable[str]) -> list[Figure]:
    """Measure figures by number. Raises ConfigError where no machine can be with these inputs."""
    bench = Bench(inputs)
    return [_measured(bench, number) for number in numbers]


def _measured(bench: Bench, number: str) -> Figure:
    try:
        return replace(FIGURES[number](bench), number=number)
    except ConfigError as problem:
        raise ConfigError(f"figure {number}: {problem}") from problem
