"""Translation caches of one CPU: what it remembers of page tables, right or stale.

    virt ─► L1 array of its size? ──no──► L2 array? ──no──► walk, insert into both
                │ hit                        │ hit: copied to L1

    set 0 | old … new |      a set is ordered by use: the first is the one to go
    set 1 | old … new |      fully associative: there is one set

Nothing here looks at page tables. Entries stay until they are pushed out or flushed, so a flush that
is left out shows: tlb_stale.py compares with the tables. A CPU that never ran has no sets at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Final, NamedTuple, TypedDict

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.paging import DIRTY, GLOBAL, NX, RW, USER
from kernel_sim.mm.tlb_profiles import TlbArray, TlbProfile, tlb_profile

ENTRY_FLAGS: Final = RW | USER | DIRTY | GLOBAL | NX


class TlbEntry(NamedTuple):
    """One page as cached: first byte, 1 << shift bytes, first frame, flags joined over all levels.

    flags: RW, USER, DIRTY, GLOBAL and NX by their bits in a page-table entry.
    """

    virt: int
    shift: int
    pfn: int
    flags: int

    def phys(self, virt: int) -> int:
        """Return the physical address of a byte of the page."""
        return (self.pfn << PAGE_SHIFT) + virt - self.virt


class TlbHit(NamedTuple):
    """An entry and the level, 1 or 2, in which it was found."""

    entry: TlbEntry
    level: int


@dataclass(slots=True)
class TlbCounters:
    """What a TLB did since boot."""

    l1_hits: int = 0
    l2_hits: int = 0
    misses: int = 0
    walk_references: int = 0
    """Page-table entries read because of misses, or to set a dirty bit."""
    l1_evictions: int = 0
    l2_evictions: int = 0
    page_flushes: int = 0
    range_flushes: int = 0
    full_flushes: int = 0
    non_global_flushes: int = 0
    entries_flushed: int = 0
    spurious_faults: int = 0
    """Accesses that a stale entry forbade and the tables allow."""


class TlbState(TypedDict):
    """A Tlb as builtin types; sets: (array, set, entries from the oldest to the newest use)."""

    profile: str
    by_sets: bool
    sets: list[tuple[int, int, list[tuple[int, int, int, int]]]]
    counters: dict[str, int]


Set = OrderedDict[int, TlbEntry]
"""Entries of one set by virt | shift, the least recently used first.

Not a plain dict: that one gets slow at its front end when its first entry goes again and again.
"""


@dataclass(slots=True)
class Tlb:
    """The caches of one CPU; by_sets models sets of `ways` entries instead of full associativity.

    version changes with everything that changes here; it is no part of the state.
    """

    profile: TlbProfile
    by_sets: bool = False
    counters: TlbCounters = field(default_factory=TlbCounters)
    sets: list[dict[int, Set]] = field(default_factory=list)
    """For each array of the profile its sets by number; nothing at all before the first entry."""
    version: int = field(default=0, compare=False)

    def lookup(self, virt: int) -> TlbHit | None:
        """Find the page of virt: in L1, then in L2, from where it is copied to L1. Counts."""
        self.version += 1
        for number, array in enumerate(self.profile.arrays if self.sets else ()):
            entry = self._touch(number, array, virt)
            if entry is None:
                continue
            if array.level == 1:
                self.counters.l1_hits += 1
            else:
                self.counters.l2_hits += 1
                self._insert_at_level(1, entry)
            return TlbHit(entry, array.level)
        self.counters.misses += 1
        return None

    def insert(self, virt: int, shift: int, pfn: int, flags: int) -> None:
        """Remember the page of 1 << shift bytes around virt, which starts at frame pfn.

        A page of a size that no array takes is remembered as the smaller piece around virt. An older
        entry of the same piece is replaced.
        """
        self.version += 1
        cached_shift = self.profile.cached_shift(shift)
        if cached_shift is None:
            return
        base = virt >> cached_shift << cached_shift
        piece_pfn = pfn + ((base & ((1 << shift) - 1)) >> PAGE_SHIFT)
        entry = TlbEntry(base, cached_shift, piece_pfn, flags & ENTRY_FLAGS)
        if not self.sets:
            self.sets = [{} for _ in self.profile.arrays]
        self._insert_at_level(1, entry)
        self._insert_at_level(2, entry)

    def count_walk(self, nr_references: int) -> None:
        """Count the page-table entries that a walk for this CPU read."""
        self.version += 1
        self.counters.walk_references += nr_references

    def count_spurious_fault(self) -> None:
        """Count an access that only a stale entry forbade."""
        self.version += 1
        self.counters.spurious_faults += 1

    def drop_page(self, virt: int) -> None:
        """Forget the page of virt because hardware itself replaces it; no flush is counted."""
        self.version += 1
        self._forget(virt, virt + 1)

    def flush_page(self, virt: int) -> None:
        """Forget the page of virt, whatever its size, global or not. Source: invlpg."""
        self.version += 1
        self.counters.page_flushes += 1
        self.counters.entries_flushed += self._forget(virt, virt + 1)

    def flush_range(self, start: int, end: int) -> None:
        """Forget every page that has a byte in [start, end), global or not."""
        self.version += 1
        self.counters.range_flushes += 1
        self.counters.entries_flushed += self._forget(start, end)

    def flush_all(self, *, keep_global: bool) -> None:
        """Forget everything; keep_global spares global pages, as loading CR3 does."""
        self.version += 1
        if keep_global:
            self.counters.non_global_flushes += 1
        else:
            self.counters.full_flushes += 1
        for sets in self.sets:
            for entries in list(sets.values()):
                for key, entry in list(entries.items()):
                    if not (keep_global and entry.flags & GLOBAL):
                        del entries[key]
                        self.counters.entries_flushed += 1

    def entries(self) -> Iterator[tuple[TlbArray, int, TlbEntry]]:
        """Yield (array, set, entry), in each set from the least to the most recently used."""
        for array, sets in zip(self.profile.arrays, self.sets, strict=False):
            for index in sorted(sets):
                for entry in sets[index].values():
                    yield array, index, entry

    @property
    def nr_entries(self) -> int:
        """Number of entries in all arrays; a page in L1 and in L2 counts twice."""
        return sum(len(entries) for sets in self.sets for entries in sets.values())

    def dump(self) -> TlbState:
        """Return the state as builtin types; empty sets are left out."""
        return {
            "profile": self.profile.name,
            "by_sets": self.by_sets,
            "sets": [
                (number, index, [(e.virt, e.shift, e.pfn, e.flags) for e in sets[index].values()])
                for number, sets in enumerate(self.sets)
                for index in sorted(sets)
                if sets[index]
            ],
            "counters": asdict(self.counters),
        }

    @classmethod
    def load(cls, state: TlbState) -> Tlb:
        """Return the TLB that dump() described. Raises ConfigError for anything else."""
        names = [each.name for each in fields(TlbCounters)]
        if list(state["counters"]) != names:
            raise ConfigError(f"TLB counters {list(state['counters'])}; expected {names}")
        tlb = cls(tlb_profile(state["profile"]), state["by_sets"], TlbCounters(**state["counters"]))
        for number, index, entries in state["sets"]:
            if not tlb.sets:
                tlb.sets = [{} for _ in tlb.profile.arrays]
            if number >= len(tlb.sets):
                raise ConfigError(f"TLB array {number}; {tlb.profile.name} has {len(tlb.sets)}")
            loaded = [TlbEntry(*entry) for entry in entries]
            tlb.sets[number][index] = OrderedDict((e.virt | e.shift, e) for e in loaded)
        return tlb

    def check_invariants(self) -> None:
        """Raise InvariantBroken for the first entry that cannot be where it is."""
        if self.sets and len(self.sets) != len(self.profile.arrays):
            raise InvariantBroken(
                f"{len(self.sets)} TLB arrays, {self.profile.name} has {len(self.profile.arrays)}"
            )
        for array, sets in zip(self.profile.arrays, self.sets, strict=False):
            for index, entries in sets.items():
                if len(entries) > self._ways(array):
                    raise InvariantBroken(
                        f"TLB {array.name} set {index}: {len(entries)} entries in "
                        f"{self._ways(array)} ways"
                    )
                for key, entry in entries.items():
                    self._check_entry(array, index, key, entry)

    def _check_entry(self, array: TlbArray, index: int, key: int, entry: TlbEntry) -> None:
        where = f"TLB {array.name} set {index}: entry of {entry.virt:#x}"
        if entry.shift not in array.shifts:
            raise InvariantBroken(f"{where} has 2^{entry.shift} bytes, expected {array.shifts}")
        offset_mask = (1 << entry.shift) - 1
        if (entry.virt | entry.pfn << PAGE_SHIFT) & offset_mask:
            raise InvariantBroken(f"{where} -> frame {entry.pfn:#x} is not aligned to its page")
        if key != entry.virt | entry.shift or index != self._set_index(array, entry):
            raise InvariantBroken(f"{where} stands in the wrong place")
        if entry.flags & ~ENTRY_FLAGS:
            raise InvariantBroken(f"{where} has flags {entry.flags:#x} that no TLB keeps")

    def _ways(self, array: TlbArray) -> int:
        return array.ways if self.by_sets else array.nr_entries

    def _set_index(self, array: TlbArray, entry: TlbEntry) -> int:
        return (entry.virt >> entry.shift) % array.nr_sets if self.by_sets else 0

    def _touch(self, number: int, array: TlbArray, virt: int) -> TlbEntry | None:
        """Return an array's entry for virt and make it the most recently used of its set."""
        sets = self.sets[number]
        for shift in array.shifts:
            page = virt >> shift
            entries = sets.get(page % array.nr_sets if self.by_sets else 0)
            if entries is None:
                continue
            key = page << shift | shift
            entry = entries.get(key)
            if entry is not None:
                entries.move_to_end(key)
                return entry
        return None

    def _insert_at_level(self, level: int, entry: TlbEntry) -> None:
        for number, array in enumerate(self.profile.arrays):
            if array.level != level or entry.shift not in array.shifts:
                continue
            entries = self.sets[number].setdefault(self._set_index(array, entry), OrderedDict())
            key = entry.virt | entry.shift
            if key not in entries and len(entries) == self._ways(array):
                entries.popitem(last=False)
                self._count_eviction(level)
            entries[key] = entry
            entries.move_to_end(key)

    def _count_eviction(self, level: int) -> None:
        if level == 1:
            self.counters.l1_evictions += 1
        else:
            self.counters.l2_evictions += 1

    def _forget(self, start: int, end: int) -> int:
        """Drop what overlaps [start, end); return how many entries that were."""
        nr_dropped = 0
        if start >= end:  # an empty range inside a large page would else seem to overlap it
            return 0
        for sets in self.sets:
            for entries in sets.values():
                for key, entry in list(entries.items()):
                    if entry.virt < end and start < entry.virt + (1 << entry.shift):
                        del entries[key]
                        nr_dropped += 1
        return nr_dropped
