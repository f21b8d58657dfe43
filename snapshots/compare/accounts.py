"""What all memory of a per-CPU system is for, seen from those who asked for it.

    total ─┬─ static      the kernel's own section, every copy
           ├─ asked       what somebody asked for, times the copies there are
           ├─ wasted      serves nobody: rounding inside areas, padding between them, room kept in reserve
           ├─ free        may be given out
           └─ metadata    tables that accesses read, bookkeeping in memory and beside it

The system's own account (kernel_sim/percpu/account.py) knows kinds of memory; that an area of 8 bytes was
asked for as 5 only the workload knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field

from kernel_sim.machine import Machine
from kernel_sim.percpu.account import Account, account_of
from kernel_sim.percpu.stretch import (
    DYNAMIC,
    FREE,
    HOLE,
    METADATA,
    MODULE,
    PADDING,
    RESERVED_ROOM,
    STATIC,
    TABLE,
    Stretch,
)

STATICS, ASKED, WASTED, FREE_ROOM, BOOKKEEPING = "static", "asked", "wasted", "free", "metadata"
SLICE_STRETCHES = 256
CLASSES = (STATICS, ASKED, WASTED, FREE_ROOM, BOOKKEEPING)
CLASS_OF: Mapping[str, str] = {
    STATIC: STATICS, DYNAMIC: ASKED, MODULE: ASKED, FREE: FREE_ROOM, PADDING: WASTED,
    RESERVED_ROOM: WASTED, TABLE: BOOKKEEPING, METADATA: BOOKKEEPING,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Accounts:
    """One moment: bytes by class, in all and by CPU (SHARED: of no single one); the system's own account."""

    total: Counter[str] = field(default_factory=Counter)
    by_cpu: dict[int, Counter[str]] = field(default_factory=dict)
    nr_areas: int = 0
    nr_table_pages: int = 0  # of the whole machine
    own: Account = field(default_factory=Account)

    @property
    def total_bytes(self) -> int:
        """All memory, bookkeeping beside it included."""
        return sum(self.total.values())

    @property
    def efficiency_percent(self) -> float:
        """How much of what is there for areas, static section aside, is what was asked for."""
        room = self.total_bytes - self.total[STATICS]
        return 100 * self.total[ASKED] / room if room else 0.0


def accounts_of(machine: Machine, areas: Iterable[tuple[int, int]]) -> Accounts:
    """Return the accounts of this moment; areas: (ptr, bytes asked) of all that live."""
    asked = dict(areas)
    own = account_of(machine)
    found = Accounts(
        by_cpu={cpu: _classes(kinds) for cpu, kinds in own.per_cpu.items()},
        nr_areas=len(asked),
        nr_table_pages=machine.space.nr_table_pages,
        own=own,
    )
    for cpu, size_bytes in _rounding(machine, asked).items():
        found.by_cpu[cpu][ASKED] -= size_bytes
        found.by_cpu[cpu][WASTED] += size_bytes
    for classes in found.by_cpu.values():
        found.total.update(classes)
    found.total[BOOKKEEPING] += own.struct_bytes
    return found


def class_totals(
    machine: Machine, areas: Iterable[tuple[int, int]]
) -> Generator[None, None, Counter[str]]:
    """Return bytes by class as accounts_of() does, and no more; in slices, as there may be many areas."""
    asked = dict(areas)
    total: Counter[str] = Counter()
    copies: dict[tuple[int, int], int] = {}
    for number, stretch in enumerate(machine.system.stretches()):
        if number % SLICE_STRETCHES == 0:
            yield
        if stretch.kind == HOLE:
            continue
        total[CLASS_OF[stretch.kind]] += stretch.size_bytes
        if stretch.ptr in asked:
            _note_copy(copies, stretch)
    for (ptr, _), size_bytes in copies.items():
        rounding = max(size_bytes - asked[ptr], 0)
        total[ASKED] -= rounding
        total[WASTED] += rounding
    total[BOOKKEEPING] += machine.system.metadata_bytes()
    return total


def _note_copy(copies: dict[tuple[int, int], int], stretch: Stretch) -> None:
    if CLASS_OF.get(stretch.kind) == ASKED:
        copy = (stretch.ptr, stretch.cpu)
        copies[copy] = copies.get(copy, 0) + stretch.size_bytes


def _classes(kinds: Mapping[str, int]) -> Counter[str]:
    classes: Counter[str] = Counter()
    for kind, nr_bytes in kinds.items():
        classes[CLASS_OF[kind]] += nr_bytes
    return classes


def _rounding(machine: Machine, asked: Mapping[int, int]) -> Counter[int]:
    """Return by CPU how much longer the copies of areas are than what was asked for."""
    copies: dict[tuple[int, int], int] = {}
    for stretch in machine.system.stretches():
        if stretch.ptr in asked:
            _note_copy(copies, stretch)
    rounding: Counter[int] = Counter()
    for (ptr, cpu), size_bytes in copies.items():
        rounding[cpu] += max(size_bytes - asked[ptr], 0)
    return rounding
