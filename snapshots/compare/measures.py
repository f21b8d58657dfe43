"""What is measured while a system does its work. Counts only: ratios are made where they are shown.

uses        by kind of variable: accesses, references, TLB misses, reads of page tables, remote references
steps       by kind of operation: how many, in all, the longest
failures    operations that the system answered with no, and what it said
cannot      operations that it does not have
accounts    memory at boot, when most was asked for, and at the end
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from snapshots.compare.accounts import ASKED, STATICS, Accounts
from snapshots.compare.measured_access import Cost
from snapshots.compare.workload import Operation, operation_text

OWN_STATIC, OWN_DYNAMIC, OWN_MODULE = "own static", "own dynamic", "own module"
OTHERS = "another CPU's"
USES = (OWN_STATIC, OWN_DYNAMIC, OWN_MODULE, OTHERS)
NUMBER = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass(slots=True)
class UseCounts:
    """Accesses of one kind, summed."""

    nr_accesses: int = 0
    nr_references: int = 0
    nr_tlb_misses: int = 0
    nr_walk_references: int = 0
    nr_remote: int = 0

    def add_cost(self, cost: Cost) -> None:
        """Count one access."""
        self.nr_accesses += 1
        self.nr_references += cost.nr_references
        self.nr_tlb_misses += cost.nr_tlb_misses
        self.nr_walk_references += cost.nr_walk_references
        self.nr_remote += cost.nr_remote

    def add(self, other: UseCounts) -> None:
        """Count another kind in."""
        self.nr_accesses += other.nr_accesses
        self.nr_references += other.nr_references
        self.nr_tlb_misses += other.nr_tlb_misses
        self.nr_walk_references += other.nr_walk_references
        self.nr_remote += other.nr_remote


@dataclass(slots=True)
class StepCounts:
    """Steps that operations of one kind took."""

    nr: int = 0
    total: int = 0
    longest: int = 0

    def add(self, nr_steps: int) -> None:
        """Count one operation."""
        self.nr += 1
        self.total += nr_steps
        self.longest = max(self.longest, nr_steps)


class Trouble(NamedTuple):
    """An operation that was not done as asked; at is its place in the workload."""

    at: int
    operation: Operation
    reason: str


class Sample(NamedTuple):
    """Memory when so many operations were done; total without the static section."""

    nr_done: int
    asked_bytes: int
    total_bytes: int


class TroubleGroup(NamedTuple):
    """Troubles of one kind with one reason, numbers in it aside; the first stands for all."""

    first: Trouble
    nr: int


@dataclass(slots=True)
class Measured:
    """All figures of one system's run."""

    uses: dict[str, UseCounts] = field(default_factory=lambda: {use: UseCounts() for use in USES})
    steps: dict[str, StepCounts] = field(default_factory=dict)
    tlb_pages: dict[int, dict[tuple[int, int], None]] = field(default_factory=dict)  # by CPU
    failures: list[Trouble] = field(default_factory=list)
    cannot: list[Trouble] = field(default_factory=list)
    nr_done: int = 0
    nr_moot: int = 0  # of areas that there are not, because they were not to be had
    stopped: Trouble | None = None
    samples: list[Sample] = field(default_factory=list)
    at_boot: Accounts = field(default_factory=Accounts)
    at_peak: Accounts = field(default_factory=Accounts)
    at_end: Accounts = field(default_factory=Accounts)

    @property
    def all_uses(self) -> UseCounts:
        """Accesses of all kinds."""
        found = UseCounts()
        for use in self.uses.values():
            found.add(use)
        return found

    @property
    def nr_steps(self) -> int:
        """Steps of all operations."""
        return sum(counts.total for counts in self.steps.values())

    @property
    def tlb_entries_needed(self) -> int:
        """The most translations that one CPU's accesses met: with so many entries each misses once."""
        return max(map(len, self.tlb_pages.values()), default=0)

    def sample(self, nr_done: int, total: Counter[str]) -> None:
        """Note what there is after so many operations, by class."""
        self.samples.append(Sample(nr_done, total[ASKED], sum(total.values()) - total[STATICS]))

    def note_access(self, use: str, cpu: int, cost: Cost) -> None:
        """Count an access of a kind, and note which pages the CPU met."""
        self.uses[use].add_cost(cost)
        pages = self.tlb_pages.setdefault(cpu, {})
        for reached in cost.path:
            pages[reached.page_addr, reached.page_shift] = None


def grouped(troubles: list[Trouble]) -> list[TroubleGroup]:
    """Return the troubles by kind of operation and reason, the most frequent first."""
    groups: dict[tuple[str, str], list[Trouble]] = {}
    for trouble in troubles:
        key = (type(trouble.operation).__name__, NUMBER.sub("…", trouble.reason))
        groups.setdefault(key, []).append(trouble)
    found = [TroubleGroup(group[0], len(group)) for group in groups.values()]
    return sorted(found, key=lambda group: -group.nr)


def trouble_text(trouble: Trouble) -> str:
    """Return a trouble as one line."""
    return f"operation {trouble.at + 1}: {operation_text(trouble.operation)}: {trouble.reason}"
