"""Where the units of any chunk lie: every chunk is congruent to the first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnitPlaces:
    """Where the units of a chunk lie, relative to its base, and on which node they should be."""

    cpus: tuple[int, ...]
    node_of_cpu: tuple[int, ...]
    unit_offsets: tuple[int, ...]  # by CPU number
    group_offsets: tuple[int, ...]
    group_sizes: tuple[int, ...]
    atom_size_bytes: int
