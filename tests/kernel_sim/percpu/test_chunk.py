"""One chunk beside the plainest model there is: a dict of its live areas."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.first_chunk import served_region
from kernel_sim.percpu.md_block import BLOCK_BITS, MdBlock
from kernel_sim.percpu.slots import ChunkSlots

NR_PAGES = 4
BASE = 0xFFFFE8FF00000000
ALIGNS = st.sampled_from([1, 2, 4, 8, 16, 64, 1024])
SIZES = st.one_of(
    st.integers(1, 100),
    st.integers(1, 100),
    st.integers(1000, 1100),
    st.sampled_from([1, 2, 1024, 2048, 4096]),
)


def fresh(nr_pages: int = NR_PAGES) -> Chunk:
    chunk = Chunk.fresh(number=1, base_addr=BASE, nr_pages=nr_pages)
    chunk.set_populated(0, nr_pages)
    return chunk


def take(chunk: Chunk, nr_bits: int, align_bits: int = 1, populated_only: bool = False) -> int:
    """Do what the allocator does with one chunk; returns the bit or -1."""
    start = chunk.find_block_fit(nr_bits, align_bits, populated_only)
    return -1 if start < 0 else chunk.alloc_area(nr_bits, align_bits, start)


def free_runs(taken: int, nr_bits: int) -> list[tuple[int, int]]:
    """Return (start, length) of each maximal free run."""
    text = format(taken | 1 << nr_bits, "b")[::-1][:nr_bits]
    runs: list[tuple[int, int]] = []
    at = 0
    for piece in text.replace("01", "0 1").replace("10", "1 0").split():
        if piece[0] == "0":
            runs.append((at, len(piece)))
        at += len(piece)
    return runs


def leading_free(taken: int, nr_bits: int) -> int:
    return nr_bits if not taken else (taken & -taken).bit_length() - 1


def check_md(md: MdBlock, taken: int) -> None:
    """Hold hints on md.nr_bits bits against the bits themselves."""
    runs = free_runs(taken, md.nr_bits)
    assert md.contig_hint <= max((length for _, length in runs), default=0)
    for start, length in (
        (md.contig_hint_start, md.contig_hint),
        (md.scan_hint_start, md.scan_hint),
    ):
        assert not taken >> start & ((1 << length) - 1), f"hint {start}+{length} is not free"
    if md.scan_hint:
        # Equal starts: a run of the contig hint's size at bit 0 took over, and the kernel lets the
        # scan hint, which was the beginning of that run, stand.
        assert md.scan_hint_start <= md.contig_hint_start or md.scan_hint == md.contig_hint


def check_block(md: MdBlock, taken: int) -> None:
    check_md(md, taken)
    assert md.left_free == leading_free(taken, md.nr_bits)
    assert md.right_free <= md.nr_bits - taken.bit_length()
    if taken != (1 << md.nr_bits) - 1:
        first = (~taken & taken + 1).bit_length() - 1
        assert md.first_free == first


def check_chunk(chunk: Chunk, live: dict[int, int]) -> None:
    """Hold a chunk against its live areas: length by first bit."""
    taken = 0
    for bit, nr_bits in live.items():
        area = ((1 << nr_bits) - 1) << bit
        assert not taken & area, "areas overlap"
        taken |= area
    words = [taken >> i * BLOCK_BITS & ((1 << BLOCK_BITS) - 1) for i in range(chunk.nr_pages)]
    assert chunk.alloc_map == words
    assert chunk.free_bytes == 4 * (chunk.nr_bits - taken.bit_count())
    assert list(chunk.areas()) == sorted(live.items())
    for bit, nr_bits in live.items():
        assert chunk.area_bits(bit) == nr_bits
        assert chunk.area_bits(bit + 1) == 0 or bit + 1 in live
    for block, word in zip(chunk.blocks, words, strict=True):
        check_block(block, word)
    check_md(chunk.md, taken)
    assert chunk.md.first_free == (~taken & taken + 1).bit_length() - 1
    empty = sum(1 for page, word in enumerate(words) if not word and chunk.populated >> page & 1)
    used_without_page = sum(
        1 for page, word in enumerate(words) if word and not chunk.populated >> page & 1
    )
    assert chunk.nr_empty_pop_pages == empty - used_without_page


class ChunkMachine(RuleBasedStateMachine):
    """Random requests against a chunk and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}

    @initialize(fixed=st.booleans(), nr_pages=st.integers(1, NR_PAGES))
    def begin(self, fixed: bool, nr_pages: int) -> None:
        self.fixed = fixed
        self.chunk = fresh(nr_pages)

    def _took(self, bit: int, nr_bits: int, align_bits: int) -> None:
        if bit < 0:
            return
        assert bit % align_bits == 0
        assert bit >= 0 and bit + nr_bits <= self.chunk.nr_bits
        assert all(bit + nr_bits <= at or at + n <= bit for at, n in self.live.items())
        self.live[bit] = nr_bits

    @rule(nr_bits=SIZES, align_bits=ALIGNS)
    def alloc(self, nr_bits: int, align_bits: int) -> None:
        if nr_bits <= self.chunk.nr_bits:
            self._took(take(self.chunk, nr_bits, align_bits), nr_bits, align_bits)

    @rule(nr_bits=st.integers(1, 60), align_bits=ALIGNS, count=st.integers(5, 40))
    def alloc_many(self, nr_bits: int, align_bits: int, count: int) -> None:
        for _ in range(count):
            self._took(take(self.chunk, nr_bits, align_bits), nr_bits, align_bits)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        bit = data.draw(st.sampled_from(sorted(self.live)))
        self.chunk.free_area(bit, self.live.pop(bit), self.fixed)

    @precondition(lambda self: len(self.live) > 3)
    @rule(keep_every=st.integers(2, 4))
    def free_many(self, keep_every: int) -> None:
        for i, bit in enumerate(sorted(self.live)):
            if i % keep_every:
                self.chunk.free_area(bit, self.live.pop(bit), self.fixed)

    @invariant()
    def agrees_with_the_model(self) -> None:
        if hasattr(self, "chunk"):
            check_chunk(self.chunk, self.live)


def test_a_chunk_agrees_with_its_live_areas_whatever_is_asked() -> None:
    run_state_machine_as_test(
        ChunkMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.booleans())
def test_all_taken_and_all_given_back_leaves_a_wholly_free_chunk(
    sizes: list[int], fixed: bool
) -> None:
    chunk = fresh()
    taken = [(take(chunk, nr_bits), nr_bits) for nr_bits in sizes]
    for bit, nr_bits in taken:
        if bit >= 0:
            chunk.free_area(bit, nr_bits, fixed)
    assert chunk.free_bytes == NR_PAGES * 4096
    assert chunk.md.contig_hint == chunk.nr_bits
    assert chunk.nr_empty_pop_pages == NR_PAGES


def full_unit_with_a_hole_of_two_bits(fixed: bool) -> Chunk:
    chunk = fresh(8)
    for nr_bits in (3172, 2, 8192 - 3174):
        assert take(chunk, nr_bits) >= 0
    chunk.free_area(3172, 2, fixed)
    return chunk


def test_faithfully_a_small_free_in_a_later_block_stays_unknown_to_the_chunk() -> None:
    chunk = full_unit_with_a_hole_of_two_bits(fixed=False)
    assert (chunk.free_bytes, chunk.md.contig_hint, chunk.md.first_free) == (8, 0, 3172)
    assert (chunk.blocks[3].contig_hint, chunk.blocks[3].contig_hint_start) == (2, 100)
    assert ChunkSlots.for_unit(32768).of_chunk(chunk) == 0
    assert take(chunk, 2) == -1


def test_with_the_fixed_hint_the_chunk_learns_of_a_small_free() -> None:
    chunk = full_unit_with_a_hole_of_two_bits(fixed=True)
    assert (chunk.md.contig_hint, chunk.md.contig_hint_start) == (2, 3172)
    assert ChunkSlots.for_unit(32768).of_chunk(chunk) == 1
    assert take(chunk, 2) == 3172


def test_in_the_first_block_both_ways_of_freeing_agree() -> None:
    rows = []
    for fixed in (False, True):
        chunk = fresh()
        for nr_bits in (100, 20, 3976):
            take(chunk, nr_bits)
        chunk.free_area(100, 20, fixed)
        rows.append(chunk.md.row())
    assert rows[0] == rows[1]
    assert rows[0][2:4] == (20, 100)


def test_a_free_that_empties_a_page_tells_the_chunk_even_faithfully() -> None:
    chunk = fresh()
    for nr_bits in (2048, 1024, 1024):
        take(chunk, nr_bits)
    chunk.free_area(2048, 1024, False)
    assert (chunk.md.contig_hint, chunk.md.contig_hint_start) == (1024, 2048)


def test_an_area_starts_only_where_one_was_taken() -> None:
    chunk = fresh()
    take(chunk, 10)
    take(chunk, 5)
    assert [chunk.area_bits(bit) for bit in (0, 1, 9, 10, 11, 15, -1, chunk.nr_bits)] == [
        10, 0, 0, 5, 0, 0, 0, 0,
    ]  # fmt: skip


def test_a_given_back_area_is_no_area_although_its_bound_stays() -> None:
    chunk = fresh()
    take(chunk, 10)
    chunk.free_area(0, 10)
    assert chunk.area_bits(0) == 0
    assert chunk.bound_map[0] & 1


def test_hidden_ends_are_no_areas() -> None:
    chunk = served_region(0, BASE + 1000, 6000)
    assert (chunk.start_offset, chunk.end_offset, chunk.nr_pages) == (1000, 8192 - 7000, 2)
    assert list(chunk.areas()) == []
    assert chunk.area_bits(0) == 0
    assert take(chunk, 1) == 250
    assert list(chunk.areas()) == [(250, 1)]


def test_an_area_may_span_blocks() -> None:
    chunk = fresh()
    take(chunk, 1000)
    bit = take(chunk, 2000)
    assert bit == 1000
    assert [block.contig_hint for block in chunk.blocks] == [0, 0, 72, 1024]
    assert chunk.nr_empty_pop_pages == 1
    chunk.free_area(1000, 2000)
    assert [block.contig_hint for block in chunk.blocks] == [24, 1024, 1024, 1024]
    assert chunk.md.contig_hint == 4096 - 1000


def test_a_whole_unit_fits_once() -> None:
    chunk = fresh()
    assert take(chunk, chunk.nr_bits) == 0
    assert chunk.free_bytes == 0
    assert chunk.md.contig_hint == 0
    assert take(chunk, 1) == -1


def test_one_block_of_room_behind_the_start_is_as_far_as_a_search_goes() -> None:
    chunk = fresh()
    take(chunk, 2060)
    assert chunk.alloc_area(8, 1, 0) == -1
    assert chunk.alloc_area(8, 1, 1040) == 2060


@given(st.integers(0, 255), st.integers(0, 7), st.integers(1, 8))
def test_runs_of_pages_are_those_of_the_bits(populated: int, start: int, length: int) -> None:
    chunk = Chunk.fresh(number=1, base_addr=BASE, nr_pages=8)
    chunk.populated = populated
    end = min(start + length, 8)
    missing = [page for page in range(start, end) if not populated >> page & 1]
    backed = [page for page in range(8) if populated >> page & 1]
    unpopulated = list(chunk.unpopulated_runs(start, end))
    assert [page for a, b in unpopulated for page in range(a, b)] == missing
    assert all(b < c for (_, b), (c, _) in pairwise(unpopulated))
    runs = list(chunk.populated_runs())
    assert [page for a, b in runs for page in range(a, b)] == backed
    assert all(b < c for (_, b), (c, _) in pairwise(runs))


def test_populating_and_back_counts_pages() -> None:
    chunk = Chunk.fresh(number=1, base_addr=BASE, nr_pages=8)
    chunk.set_populated(2, 5)
    assert (chunk.nr_populated, chunk.nr_empty_pop_pages, chunk.populated) == (3, 3, 0b11100)
    assert [chunk.is_empty_page(page) for page in (1, 2, 4, 5)] == [False, True, True, False]
    chunk.set_depopulated(3, 4)
    assert (chunk.nr_populated, chunk.nr_empty_pop_pages, chunk.populated) == (2, 2, 0b10100)


@given(st.integers(0, 4095), st.integers(1, 2000), st.integers(0, 4095), st.integers(1, 50))
def test_taken_bits_are_seen_wherever_they_lie(
    bit: int, nr_bits: int, at: int, length: int
) -> None:
    chunk = fresh()
    nr_bits, length = min(nr_bits, 4096 - bit), min(length, 4096 - at)
    chunk.take_exactly(bit, nr_bits)
    assert chunk.is_any_taken(at, length) == (at < bit + nr_bits and bit < at + length)
    check_chunk(chunk, {bit: nr_bits})
