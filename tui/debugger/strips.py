"""A per-CPU system's memory as strips, each a run of stretches end to end, read only as far as one looks.

    stretches()  ──►  strip "area of cpu 0"   [static][module][free       ]
       (lazy)         strip "area of cpu 1"   [static][module][free       ]
                      …   not read until somebody asks for line 3000 of the map

What is read here is of one moment: who holds an index over a move makes a new one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice

from kernel_sim.machine import Machine
from kernel_sim.percpu.stretch import DATA_KINDS, SHARED, Stretch

SLICE_STRETCHES = 2048  # read at once: some ten milliseconds
NAMES_KEPT = 1 << 16
GROUP_SPLIT = ", "  # "chunk 2, unit of cpu 1" belongs to "chunk 2"
OF_CPU = re.compile(
    r"(?P<group>.+) of cpu \d+"
)  # "area of cpu 1" is of the same kind as that of cpu 2


@dataclass(slots=True)
class Strip:
    """One strip; number is its place in the drawing.

    cpu, node: of all its stretches, SHARED or -1 if they differ. group: what it is a part of, "" if it
    stands alone; short_name: its name within that.
    """

    number: int
    name: str
    stretches: tuple[Stretch, ...]
    addr: int
    size_bytes: int
    cpu: int
    node: int
    group: str
    short_name: str
    _starts: tuple[int, ...] = ()
    _parities: tuple[int, ...] = ()

    @property
    def starts(self) -> tuple[int, ...]:
        """Where its stretches begin, as offsets."""
        if not self._starts:
            self._starts = tuple(each.addr - self.addr for each in self.stretches)
        return self._starts

    @property
    def parities(self) -> tuple[int, ...]:
        """Of a stretch in use: how many came since the last one that is not, modulo 2."""
        if not self._parities:
            parities: list[int] = []
            parity = 0
            for stretch in self.stretches:
                parity = parity ^ 1 if stretch.kind in DATA_KINDS else 0
                parities.append(parity)
            self._parities = tuple(parities)
        return self._parities

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.addr + self.size_bytes

    def index_at(self, offset_bytes: int) -> int:
        """Return which of its stretches holds an offset."""
        return max(bisect_right(self.starts, offset_bytes) - 1, 0)

    def stretch_at(self, offset_bytes: int) -> Stretch:
        """Return the stretch that holds an offset."""
        return self.stretches[self.index_at(offset_bytes)]

    def bytes_by_kind(self) -> dict[str, int]:
        """Return its bytes by kind, in the order in which kinds first come."""
        found: dict[str, int] = {}
        for stretch in self.stretches:
            found[stretch.kind] = found.get(stretch.kind, 0) + stretch.size_bytes
        return found


@dataclass(slots=True)
class StripIndex:
    """The strips of one moment, in order. complete: all are read."""

    source: Iterator[tuple[str, Iterator[Stretch]]]
    strips: list[Strip] = field(default_factory=list)
    by_name: dict[str, Strip] = field(default_factory=dict)
    nr_stretches: int = 0
    complete: bool = False

    @classmethod
    def of(cls, machine: Machine) -> StripIndex:
        """Return the index of the machine's present moment; nothing is read yet."""
        return cls(groupby(machine.system.stretches(), key=lambda stretch: stretch.strip))

    def read_strips(self, nr_strips: int) -> None:
        """Read on until that many strips are known, or all."""
        while not self.complete and len(self.strips) < nr_strips:
            self._read_one()

    def read_some(self, nr_stretches: int = SLICE_STRETCHES) -> None:
        """Read on for about that many stretches."""
        goal = self.nr_stretches + nr_stretches
        while not self.complete and self.nr_stretches < goal:
            self._read_one()

    def read_all(self) -> list[Strip]:
        """Read all and return them."""
        while not self.complete:
            self._read_one()
        return self.strips

    def _read_one(self) -> None:
        name, members = next(self.source, ("", None))
        if members is None:
            self.complete = True
            return
        strip = _strip(len(self.strips), name, tuple(members))
        self.strips.append(strip)
        self.by_name.setdefault(name, strip)
        self.nr_stretches += len(strip.stretches)


def find_stretch(machine: Machine, addr: int) -> Stretch | None:
    """Return the stretch that holds a virtual address, None if it is nobody's."""
    return next((each for each in machine.system.stretches() if each.addr <= addr < each.end), None)


def copies_of(machine: Machine, ptr: int, nr_max: int) -> list[tuple[int, int]]:
    """Return (CPU, address) of the copies that an area has, at most so many."""
    pairs = ((cpu, machine.system.copy_addr(ptr, cpu)) for cpu in machine.topology.possible)
    return list(islice(((cpu, addr) for cpu, addr in pairs if addr is not None), nr_max))


def _strip(number: int, name: str, stretches: tuple[Stretch, ...]) -> Strip:
    first, last = stretches[0], stretches[-1]
    cpu, node = first.cpu, first.node
    for stretch in stretches:
        if stretch.cpu != cpu:
            cpu = SHARED
        if stretch.node != node:
            node = -1
    group, short_name = names_of(name)
    size_bytes = last.addr + last.size_bytes - first.addr
    return Strip(number, name, stretches, first.addr, size_bytes, cpu, node, group, short_name)


@lru_cache(maxsize=NAMES_KEPT)
def names_of(name: str) -> tuple[str, str]:
    """Return the group of a strip and its name within that, which is the whole where that says both."""
    group, split, member = name.partition(GROUP_SPLIT)
    if split:
        return group, member
    of_cpu = OF_CPU.fullmatch(name)
    return (of_cpu["group"] if of_cpu else "", name)
