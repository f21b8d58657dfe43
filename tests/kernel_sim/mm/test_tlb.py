"""One CPU's TLB beside lists: per cache and set a list of entries, the oldest use first."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.mm.paging import ACCESSED, DIRTY, GLOBAL, NX, PRESENT, RW
from kernel_sim.mm.tlb import ENTRY_FLAGS, Tlb, TlbCounters, TlbEntry, TlbHit
from kernel_sim.mm.tlb_profiles import TLB_PROFILES, TlbArray, TlbProfile, tlb_profile

BASE = 0xFFFF_C900_0000_0000
TINY = TlbProfile(
    "tiny",
    (
        TlbArray("L1 4K", 1, (12,), 4, 2),
        TlbArray("L1 large", 1, (21, 22), 2, 1),
        TlbArray("L2", 2, (12, 21), 8, 4),
    ),
)
PAIR = TlbProfile("pair", (TlbArray("L1", 1, (12, 21), 4, 4),))
pages_4k = st.integers(0, 7).map(lambda number: BASE + number * 4096)
shifts = st.sampled_from([12, 12, 12, 21, 22, 30])


class TlbAgainstLists(RuleBasedStateMachine):
    """Pages of 4K and of 2M overlap here on purpose; 1G has no room and is cut to 2M."""

    @initialize(profile=st.sampled_from([TINY, PAIR, TLB_PROFILES["none"]]), by_sets=st.booleans())
    def boot(self, profile: TlbProfile, by_sets: bool) -> None:
        self.tlb = Tlb(profile, by_sets)
        self.by_sets = by_sets
        self.model: list[dict[int, list[TlbEntry]]] = [{} for _ in profile.arrays]
        self.counters = TlbCounters()
        self.last_version = 0

    def uses(self, entry: TlbEntry, array: TlbArray, number: int) -> list[TlbEntry]:
        nr_sets = array.nr_entries // array.ways if self.by_sets else 1
        return self.model[number].setdefault(entry.virt // (1 << entry.shift) % nr_sets, [])

    def put(self, level: int, entry: TlbEntry) -> None:
        for number, array in enumerate(self.tlb.profile.arrays):
            if array.level != level or entry.shift not in array.shifts:
                continue
            used = self.uses(entry, array, number)
            used[:] = [each for each in used if each[:2] != entry[:2]]
            if len(used) == (array.ways if self.by_sets else array.nr_entries):
                used.pop(0)
                if level == 1:
                    self.counters.l1_evictions += 1
                else:
                    self.counters.l2_evictions += 1
            used.append(entry)

    def expected_hit(self, virt: int) -> TlbHit | None:
        for number, array in enumerate(self.tlb.profile.arrays):
            for shift in array.shifts:
                for used in self.model[number].values():
                    for entry in used:
                        if entry.shift == shift and entry.virt == virt >> shift << shift:
                            used.remove(entry)
                            used.append(entry)
                            return TlbHit(entry, array.level)
        return None

    @rule(virt=pages_4k, offset_bytes=st.integers(0, 4095))
    def lookup(self, virt: int, offset_bytes: int) -> None:
        expected = self.expected_hit(virt)
        assert self.tlb.lookup(virt + offset_bytes) == expected
        if expected is None:
            self.counters.misses += 1
        elif expected.level == 1:
            self.counters.l1_hits += 1
        else:
            self.counters.l2_hits += 1
            self.put(1, expected.entry)

    @rule(virt=pages_4k, shift=shifts, pfn=st.integers(0, 7), flags=st.sampled_from([RW, GLOBAL]))
    def insert(self, virt: int, shift: int, pfn: int, flags: int) -> None:
        pfn <<= shift - 12
        self.tlb.insert(virt + 5, shift, pfn, flags | PRESENT | ACCESSED)
        cached = self.tlb.profile.cached_shift(shift)
        if cached is None:
            return
        base = virt >> cached << cached
        piece_pfn = pfn + (base % (1 << shift)) // 4096
        for level in (1, 2):
            self.put(level, TlbEntry(base, cached, piece_pfn, flags))

    def forget(self, start: int, end: int, *, keep_global: bool = False) -> int:
        nr_gone = 0
        for sets in self.model:
            for used in sets.values():
                gone = [
                    entry
                    for entry in used
                    if entry.virt < end
                    and start < entry.virt + (1 << entry.shift)
                    and not (keep_global and entry.flags & GLOBAL)
                ]
                used[:] = [entry for entry in used if entry not in gone]
                nr_gone += len(gone)
        return nr_gone

    @rule(virt=pages_4k)
    def flush_page(self, virt: int) -> None:
        self.tlb.flush_page(virt)
        self.counters.page_flushes += 1
        self.counters.entries_flushed += self.forget(virt, virt + 4096)

    @rule(virt=pages_4k)
    def drop_page(self, virt: int) -> None:
        self.tlb.drop_page(virt)
        self.forget(virt, virt + 4096)

    @rule(virt=pages_4k, nr_pages=st.integers(0, 5))
    def flush_range(self, virt: int, nr_pages: int) -> None:
        self.tlb.flush_range(virt, virt + nr_pages * 4096)
        self.counters.range_flushes += 1
        self.counters.entries_flushed += (
            self.forget(virt, virt + nr_pages * 4096) if nr_pages else 0
        )

    @rule(keep_global=st.booleans())
    def flush_all(self, keep_global: bool) -> None:
        self.tlb.flush_all(keep_global=keep_global)
        if keep_global:
            self.counters.non_global_flushes += 1
        else:
            self.counters.full_flushes += 1
        self.counters.entries_flushed += self.forget(0, 1 << 64, keep_global=keep_global)

    @invariant()
    def both_hold_the_same_in_the_same_order(self) -> None:
        self.tlb.check_invariants()
        assert self.tlb.counters == self.counters
        expected = [
            (array, index, entry)
            for array, sets in zip(self.tlb.profile.arrays, self.model, strict=True)
            for index in sorted(sets)
            for entry in sets[index]
        ]
        assert list(self.tlb.entries()) == expected
        assert self.tlb.nr_entries == len(expected)
        assert self.tlb.version >= self.last_version
        self.last_version = self.tlb.version


TestTlbAgainstLists = TlbAgainstLists.TestCase
TestTlbAgainstLists.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def skylake(*, by_sets: bool = False) -> Tlb:
    return Tlb(tlb_profile("skylake"), by_sets)


def test_a_second_level_hit_is_promoted() -> None:
    tlb = skylake()
    for page in range(65):
        tlb.insert(BASE + page * 4096, 12, page, RW)
    assert tlb.counters.l1_evictions == 1
    for level in (2, 1):
        hit = tlb.lookup(BASE)
        assert hit == TlbHit(TlbEntry(BASE, 12, 0, RW), level)
    assert (tlb.counters.l1_hits, tlb.counters.l2_hits, tlb.counters.misses) == (1, 1, 0)
    assert tlb.counters.l1_evictions == 2


@pytest.mark.parametrize(("by_sets", "nr_kept"), [(False, 5), (True, 4)])
def test_with_sets_five_pages_a_set_apart_fight_for_four_ways(by_sets: bool, nr_kept: int) -> None:
    tlb = Tlb(tlb_profile("pentium3"), by_sets)
    for number in range(5):
        tlb.insert(BASE + number * 16 * 4096, 12, number, RW)
    assert tlb.nr_entries == nr_kept
    assert (tlb.lookup(BASE) is None) == by_sets


def test_an_idle_cpus_tlb_holds_nothing_at_all() -> None:
    tlb = skylake()
    tlb.flush_all(keep_global=False)
    assert tlb.lookup(BASE) is None
    assert tlb.sets == []
    assert tlb.dump()["sets"] == []


def test_a_range_flush_stops_at_its_ends() -> None:
    tlb = skylake()
    for page in range(5):
        tlb.insert(BASE + page * 4096, 12, page, GLOBAL)
    tlb.flush_range(BASE + 4096 + 8, BASE + 3 * 4096)
    assert [entry.pfn for array, _, entry in tlb.entries() if array.level == 1] == [0, 3, 4]
    tlb.flush_range(BASE + 3 * 4096, BASE + 3 * 4096 + 1)
    assert [entry.pfn for array, _, entry in tlb.entries() if array.level == 1] == [0, 4]


def test_a_gigabyte_without_room_is_cached_around_the_address() -> None:
    tlb = Tlb(tlb_profile("nehalem"))
    tlb.insert(BASE + (5 << 21) + 77, 30, 0x80000, RW)
    assert [entry for _, _, entry in tlb.entries()] == [
        TlbEntry(BASE + (5 << 21), 21, 0x80000 + 5 * 512, RW)
    ]
    hit = tlb.lookup(BASE + (5 << 21) + 77)
    assert hit is not None
    assert hit.entry.phys(BASE + (5 << 21) + 77) == (0x80000 << 12) + (5 << 21) + 77


@pytest.mark.parametrize("by_sets", [False, True])
def test_dump_and_load_give_the_same_tlb_with_the_same_future(by_sets: bool) -> None:
    tlb = skylake(by_sets=by_sets)
    for page in range(100):
        tlb.insert(BASE + page * 4096, 12, page, RW | DIRTY | NX)
    tlb.insert(BASE + (1 << 30), 21, 512, GLOBAL)
    for page in (3, 99, 40):
        tlb.lookup(BASE + page * 4096)
    tlb.count_walk(4)
    tlb.count_spurious_fault()
    loaded = Tlb.load(tlb.dump())
    loaded.check_invariants()
    assert loaded == tlb
    assert loaded.dump() == tlb.dump()
    for each in (tlb, loaded):
        for page in range(90, 170):
            each.insert(BASE + page * 4096, 12, page, RW)
    assert loaded.dump() == tlb.dump()
    assert tlb.counters.walk_references == 4


def test_what_is_no_dump_of_a_tlb_is_refused() -> None:
    tlb = skylake()
    tlb.insert(BASE, 12, 1, RW)
    state = tlb.dump()
    with pytest.raises(ConfigError, match="TLB array 9; skylake has 4"):
        Tlb.load({**state, "sets": [(9, 0, [])]})
    with pytest.raises(ConfigError, match="TLB counters"):
        Tlb.load({**state, "counters": {"hits": 1}})
    with pytest.raises(ConfigError, match="no TLB profile 'x'"):
        Tlb.load({**state, "profile": "x"})


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (TlbEntry(BASE, 21, 512, RW), "has 2\\^21 bytes"),
        (TlbEntry(BASE + 4, 12, 1, RW), "is not aligned to its page"),
        (TlbEntry(BASE, 12, 1, ENTRY_FLAGS | PRESENT), "flags"),
    ],
)
def test_the_check_finds_an_entry_that_cannot_be(entry: TlbEntry, text: str) -> None:
    tlb = skylake()
    tlb.insert(BASE, 12, 1, RW)
    tlb.check_invariants()
    tlb.sets[0][0][entry.virt | entry.shift] = entry
    with pytest.raises(InvariantBroken, match=text):
        tlb.check_invariants()


def test_the_check_finds_an_entry_in_a_wrong_place_and_a_set_too_full() -> None:
    tlb = skylake()
    tlb.insert(BASE, 12, 1, RW)
    tlb.sets[0][0][77] = TlbEntry(BASE, 12, 1, RW)
    with pytest.raises(InvariantBroken, match="wrong place"):
        tlb.check_invariants()
    for page in range(65):
        entry = TlbEntry(BASE + page * 4096, 12, 1, RW)
        tlb.sets[0][0][entry.virt | 12] = entry
    with pytest.raises(InvariantBroken, match="66 entries in 64 ways"):
        tlb.check_invariants()
