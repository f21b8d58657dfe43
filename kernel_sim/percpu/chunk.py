"""One chunk of per-CPU memory, as the bitmap allocator of Linux 6.1 keeps it.

A chunk is the same piece of every CPU's unit; an area allocated at an offset exists once per CPU:

    chunk      unit of CPU 0    [ area A |  free  | area B |   not populated …   ]
               unit of CPU 1    [ area A |  free  | area B |   not populated …   ]
    alloc map  one bit / 4 bytes  11111111 00000000 11111111 0000000000000000000
    bound map  area starts, ends  1        1        1        1
    blocks     hints per page   |    block 0        |     block 1         | …

This file is the pure part: take a place (fit.py finds it), give it back, keep the hints right. It knows
one chunk only; lists of chunks, pages and locks are the allocator's business. Bits of a block are one Python
integer, so that a search is a few shifts whatever the length of the run.

Source: Linux 6.1 mm/percpu.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kernel_sim.alignment import trailing_zeros
from kernel_sim.percpu.fit import find_block_fit, find_zero_area
from kernel_sim.percpu.md_block import BLOCK_BITS, BLOCK_MASK, MIN_ALLOC_BYTES, MdBlock

RESERVED = -1  # number of the reserved chunk; 0 is the first chunk, later ones count up


@dataclass(slots=True)
class Chunk:
    """State of one chunk; offsets and sizes in bytes unless the name says bits or pages."""

    number: int
    base_addr: int
    nr_pages: int
    start_offset: int
    end_offset: int
    free_bytes: int
    nr_populated: int
    nr_empty_pop_pages: int
    populated: int  # bit i: page i of every unit is backed
    immutable: bool
    isolated: bool
    slot: int  # list it is on; -1: on none
    nr_alloc: int
    max_alloc_bytes: int
    md: MdBlock
    blocks: list[MdBlock]
    alloc_map: list[int]  # per block, bit set: in use
    bound_map: list[int]  # per block and one behind: bit set where an area starts or ends
    data: tuple[int, ...] = ()  # base address of each group's area (vm), first pfn (km)
    written: bool = False  # some unit may hold bytes other than zero
    free_tail: int = 0  # blocks from here on are wholly free; follows from the bitmap
    changed: bool = field(default=True, compare=False)  # since the last keyframe was taken

    @classmethod
    def fresh(cls, *, number: int, base_addr: int, nr_pages: int) -> Chunk:
        """Return a chunk that is wholly free and has no page yet."""
        return cls(
            number=number,
            base_addr=base_addr,
            nr_pages=nr_pages,
            start_offset=0,
            end_offset=0,
            free_bytes=nr_pages * BLOCK_BITS * MIN_ALLOC_BYTES,
            nr_populated=0,
            nr_empty_pop_pages=0,
            populated=0,
            immutable=False,
            isolated=False,
            slot=-1,
            nr_alloc=0,
            max_alloc_bytes=0,
            md=MdBlock.fresh(nr_pages * BLOCK_BITS),
            blocks=[MdBlock.fresh(BLOCK_BITS) for _ in range(nr_pages)],
            alloc_map=[0] * nr_pages,
            bound_map=[0] * (nr_pages + 1),
        )

    @property
    def nr_bits(self) -> int:
        """Bits of the allocation bitmap, hidden ends included."""
        return self.nr_pages * BLOCK_BITS

    def find_block_fit(self, nr_bits: int, align_bits: int, populated_only: bool) -> int:
        """Return the bit from which alloc_area() should look, or -1; see fit.py."""
        return find_block_fit(self, nr_bits, align_bits, populated_only)

    # -- take --------------------------------------------------------------------------------------

    def alloc_area(self, nr_bits: int, align_bits: int, start: int) -> int:
        """Take nr_bits at or after start and return the first bit, or -1 if the window has no room.

        Source: pcpu_alloc_area().
        """
        total = self.nr_pages * BLOCK_BITS
        end = start + nr_bits + BLOCK_BITS
        if end > total:
            end = total
        bit, passed_at, passed = find_zero_area(self, start, end, nr_bits, align_bits)
        if bit < 0:
            return -1
        if passed:
            self._offer_passed_run(passed_at, passed)
        self.take_exactly(bit, nr_bits)
        return bit

    def take_exactly(self, bit: int, nr_bits: int) -> None:
        """Take [bit, bit + nr_bits), which must be free, and bring the hints in line."""
        self.changed = True
        self._mark_area(bit, nr_bits)
        if bit + nr_bits > self.free_tail * BLOCK_BITS:
            self.free_tail = (bit + nr_bits - 1) // BLOCK_BITS + 1
        self.free_bytes -= nr_bits * MIN_ALLOC_BYTES
        md = self.md
        if bit == md.first_free:
            md.first_free = self._next_free_bit(bit + nr_bits)
        self.update_hint_alloc(bit, nr_bits)

    def _offer_passed_run(self, bit: int, nr_bits: int) -> None:
        index, start = divmod(bit, BLOCK_BITS)
        end = start + nr_bits
        if end > BLOCK_BITS:
            return
        # Alignment may have skipped free bits just before the run: it begins after the last one in use.
        start = (self.alloc_map[index] & ((1 << start) - 1)).bit_length()
        self.blocks[index].update(start, end)

    def _mark_area(self, bit: int, nr_bits: int) -> None:
        index, at = divmod(bit, BLOCK_BITS)
        end = at + nr_bits
        bound_map = self.bound_map
        if end <= BLOCK_BITS:
            run = ((1 << nr_bits) - 1) << at
            self.alloc_map[index] |= run
            bound_map[index] = bound_map[index] & ~run | (1 << at)
        else:
            self._mark_long_area(index, at, end)
        index, at = divmod(bit + nr_bits, BLOCK_BITS)
        bound_map[index] |= 1 << at

    def _mark_long_area(self, index: int, at: int, end: int) -> None:
        run = BLOCK_MASK >> at << at
        self.alloc_map[index] |= run
        self.bound_map[index] = self.bound_map[index] & ~run | (1 << at)
        end -= BLOCK_BITS
        while end > 0:
            index += 1
            run = BLOCK_MASK if end >= BLOCK_BITS else (1 << end) - 1
            self.alloc_map[index] |= run
            self.bound_map[index] &= ~run
            end -= BLOCK_BITS

    def _next_free_bit(self, bit: int) -> int:
        index, at = divmod(bit, BLOCK_BITS)
        for i in range(index, self.nr_pages):
            free = (self.alloc_map[i] ^ BLOCK_MASK) >> at
            if free:
                return i * BLOCK_BITS + at + trailing_zeros(free)
            at = 0
        return self.nr_pages * BLOCK_BITS

    def update_hint_alloc(self, bit: int, nr_bits: int) -> None:
        """Bring the hints in line with [bit, bit + nr_bits) having been taken.

        A page that was wholly free counts as one empty page less, populated or not; populating adds
        it back. Source: pcpu_block_update_hint_alloc().
        """
        first, start = divmod(bit, BLOCK_BITS)
        last, end = divmod(bit + nr_bits - 1, BLOCK_BITS)
        end += 1
        block = self.blocks[first]
        emptied = 1 if block.contig_hint == BLOCK_BITS else 0
        stop = start + nr_bits
        if start == block.first_free:
            free = (self.alloc_map[first] ^ BLOCK_MASK) >> stop
            block.first_free = stop + trailing_zeros(free) if free else BLOCK_BITS
        scan_start = block.scan_hint_start
        if scan_start < stop and start < scan_start + block.scan_hint:
            block.scan_hint = 0
        contig_start = block.contig_hint_start
        if contig_start < stop and start < contig_start + block.contig_hint:
            if not start:
                block.left_free = 0
            self._refresh_block(first)
        else:
            if start < block.left_free:
                block.left_free = start
            if first != last:
                block.right_free = 0
            elif BLOCK_BITS - end < block.right_free:
                block.right_free = BLOCK_BITS - end
        if first != last:
            emptied += self._update_later_blocks(first, last, end)
        self.nr_empty_pop_pages -= emptied
        self._update_chunk_md_alloc(bit, nr_bits)

    def _update_later_blocks(self, first: int, last: int, end: int) -> int:
        """Do the same for the blocks behind the first one; returns how many were wholly free."""
        block = self.blocks[last]
        emptied = 1 if block.contig_hint == BLOCK_BITS else 0
        free = (self.alloc_map[last] ^ BLOCK_MASK) >> end
        block.first_free = end + trailing_zeros(free) if free else BLOCK_BITS
        if end == BLOCK_BITS:
            block.fill()
        else:
            if end > block.scan_hint_start:
                block.scan_hint = 0
            block.left_free = 0
            if end > block.contig_hint_start:
                self._refresh_block(last)
            elif BLOCK_BITS - end < block.right_free:
                block.right_free = BLOCK_BITS - end
        for i in range(first + 1, last):
            self.blocks[i].fill()
        return emptied + last - first - 1

    def _update_chunk_md_alloc(self, bit: int, nr_bits: int) -> None:
        md = self.md
        scan_start = md.scan_hint_start
        if scan_start < bit + nr_bits and bit < scan_start + md.scan_hint:
            md.scan_hint = 0
        contig_start = md.contig_hint_start
        if contig_start < bit + nr_bits and bit < contig_start + md.contig_hint:
            self._refresh_chunk(md.promote_scan_hint())

    def _refresh_block(self, index: int) -> None:
        """Find the block's largest run again, starting behind the promoted scan hint.

        Source: pcpu_block_refresh_hint().
        """
        block = self.blocks[index]
        at = block.promote_scan_hint()
        block.right_free = 0
        free = (self.alloc_map[index] ^ BLOCK_MASK) >> at
        known = block.contig_hint
        while free:
            gap = (free & -free).bit_length() - 1
            at += gap
            free >>= gap
            run = (~free & (free + 1)).bit_length() - 1
            end = at + run
            if run >= known or not at or end == BLOCK_BITS:
                block.update(at, end)
                known = block.contig_hint
            # A shorter run behind the contig hint, touching no edge, would change nothing.
            at = end
            free >>= run

    def _refresh_chunk(self, bit: int) -> None:
        """Tell chunk_md of each run that the blocks' hints show from bit on.

        Source: pcpu_chunk_refresh_hint() and pcpu_next_md_free_region().
        """
        md = self.md
        blocks = self.blocks
        nr_pages = self.nr_pages
        index, after = divmod(bit, BLOCK_BITS)
        run = run_at = 0
        while index < nr_pages:
            block = blocks[index]
            if run:
                if index >= self.free_tail:
                    run += (nr_pages - index) * BLOCK_BITS
                    break
                left = block.left_free
                run += left
                if left == BLOCK_BITS:
                    index += 1
                    continue
                md.update(run_at, run_at + run)
                after = run_at + run + 1 - index * BLOCK_BITS
                run = 0
                if after >= BLOCK_BITS:
                    index, after = index + 1, after - BLOCK_BITS
                    continue
            hint = block.contig_hint
            hint_start = block.contig_hint_start
            if hint and hint_start >= after and hint + hint_start < BLOCK_BITS:
                run_at = index * BLOCK_BITS + hint_start
                md.update(run_at, run_at + hint)
                after = hint_start + hint + 1
                if after < BLOCK_BITS:
                    continue
                after = 0
                index += 1
                continue
            after = 0
            run = block.right_free
            run_at = (index + 1) * BLOCK_BITS - run
            index += 1
        if run:
            md.update(run_at, run_at + run)

    # -- give back ---------------------------------------------------------------------------------

    def area_bits(self, bit: int) -> int:
        """Return the length in bits of the area that starts at bit, or 0 if none does."""
        index, at = divmod(bit, BLOCK_BITS)
        if (
            not 0 <= index < self.nr_pages
            or not self.alloc_map[index] >> at & 1
            or not self.bound_map[index] >> at & 1
            or bit < self.start_offset // MIN_ALLOC_BYTES
        ):
            return 0
        return self._next_bound(bit + 1) - bit

    def is_any_taken(self, bit: int, nr_bits: int) -> bool:
        """Say whether any of [bit, bit + nr_bits) is in use."""
        index, at = divmod(bit, BLOCK_BITS)
        end = bit + nr_bits
        while bit < end:
            here = min(end - bit, BLOCK_BITS - at)
            if self.alloc_map[index] >> at & ((1 << here) - 1):
                return True
            bit, index, at = bit + here, index + 1, 0
        return False

    def _next_bound(self, bit: int) -> int:
        index, at = divmod(bit, BLOCK_BITS)
        bound_map = self.bound_map
        for i in range(index, self.nr_pages):
            bounds = bound_map[i] >> at
            if bounds:
                return i * BLOCK_BITS + at + trailing_zeros(bounds)
            at = 0
        return self.nr_pages * BLOCK_BITS

    def free_area(self, bit: int, nr_bits: int, fixed_hint: bool = False) -> None:
        """Give [bit, bit + nr_bits), which must be one area, back and widen the hints.

        Linux 5.1 to 6.14 offer the freed run to chunk_md with an end that is relative to the block
        while the start is relative to the chunk, so that a small free in block 1 or later does not
        raise the chunk's contig hint. fixed_hint offers the true end instead.
        Source: pcpu_free_area() and pcpu_block_update_hint_free().
        """
        self.changed = True
        first, start = divmod(bit, BLOCK_BITS)
        last, end = divmod(bit + nr_bits - 1, BLOCK_BITS)
        end += 1
        if first == last:
            self.alloc_map[first] ^= ((1 << nr_bits) - 1) << start
        else:
            self._clear_long_area(first, start, last, end)
        self.free_bytes += nr_bits * MIN_ALLOC_BYTES
        md = self.md
        if bit < md.first_free:
            md.first_free = bit
        block = self.blocks[first]
        if start == block.contig_hint + block.contig_hint_start:
            start = block.contig_hint_start
        else:
            start = (self.alloc_map[first] & ((1 << start) - 1)).bit_length()
        tail = self.blocks[last]
        if end == tail.contig_hint_start:
            end = tail.contig_hint_start + tail.contig_hint
        else:
            taken = self.alloc_map[last] >> end
            end = end + trailing_zeros(taken) if taken else BLOCK_BITS
        if first == last:
            block.update(start, end)
            if start or end != BLOCK_BITS:
                origin = first * BLOCK_BITS
                md.update(origin + start, origin + end if fixed_hint else end)
                return
            self.nr_empty_pop_pages += 1
        else:
            block.update(start, BLOCK_BITS)
            tail.update(0, end)
            for i in range(first + 1, last):
                self.blocks[i].clear()
            self.nr_empty_pop_pages += last - first - 1 + (not start) + (end == BLOCK_BITS)
        while self.free_tail and not self.alloc_map[self.free_tail - 1]:
            self.free_tail -= 1
        md.contig_hint = 0
        self._refresh_chunk(md.first_free)

    def _clear_long_area(self, first: int, start: int, last: int, end: int) -> None:
        self.alloc_map[first] &= (1 << start) - 1
        for i in range(first + 1, last):
            self.alloc_map[i] = 0
        self.alloc_map[last] &= BLOCK_MASK >> end << end

    # -- pages -------------------------------------------------------------------------------------

    def set_populated(self, page_start: int, page_end: int) -> None:
        """Take note that the pages [page_start, page_end) of every unit are backed now.

        They count as empty until the areas in them are accounted. Source: pcpu_chunk_populated().
        """
        nr_pages = page_end - page_start
        self.populated |= ((1 << nr_pages) - 1) << page_start
        self.nr_populated += nr_pages
        self.nr_empty_pop_pages += nr_pages
        self.changed = True

    def set_depopulated(self, page_start: int, page_end: int) -> None:
        """Take note that the pages [page_start, page_end) are gone. Source: pcpu_chunk_depopulated()."""
        nr_pages = page_end - page_start
        self.populated &= ~(((1 << nr_pages) - 1) << page_start)
        self.nr_populated -= nr_pages
        self.nr_empty_pop_pages -= nr_pages
        self.changed = True

    def unpopulated_runs(self, page_start: int, page_end: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of each run of pages without backing in [page_start, page_end)."""
        page = page_start
        while page < page_end:
            missing = ~(self.populated >> page) & ((1 << (page_end - page)) - 1)
            if not missing:
                return
            page += trailing_zeros(missing)
            end = min(
                page + trailing_zeros(self.populated >> page | 1 << (page_end - page)), page_end
            )
            yield page, end
            page = end

    def populated_runs(self) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of each run of populated pages, lowest first."""
        page = 0
        while populated := self.populated >> page:
            page += trailing_zeros(populated)
            end = page + trailing_zeros(~(self.populated >> page))
            yield page, end
            page = end

    def is_empty_page(self, page: int) -> bool:
        """Say whether the page is backed and holds no area."""
        return bool(self.populated >> page & 1) and self.blocks[page].contig_hint == BLOCK_BITS

    # -- what is in it -----------------------------------------------------------------------------

    def areas(self) -> Iterator[tuple[int, int]]:
        """Yield (first bit, number of bits) of each live area, lowest first; hidden ends are none."""
        bit = self.start_offset // MIN_ALLOC_BYTES
        limit = self.nr_bits - self.end_offset // MIN_ALLOC_BYTES
        while bit < limit:
            index, at = divmod(bit, BLOCK_BITS)
            taken = self.alloc_map[index] >> at
            if not taken:
                bit = (index + 1) * BLOCK_BITS
                continue
            bit += trailing_zeros(taken)
            if bit >= limit:
                return
            end = self._next_bound(bit + 1)
            yield bit, end - bit
            bit = end
