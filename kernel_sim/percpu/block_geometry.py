"""How large a block of the 2005 block allocator is, and what its management pages hold.

    B                 CPU 0      2 pages          management, from B + NR_CPUS * 8192 on:
    B + 8192          CPU 1      2 pages            pcpu_block   start_addr, pages[], list, bitmap,
    ...                                                          bufctl_fl[], bufctl_fl_head, size_used
    B + NR_CPUS*8192  management 9 pages            buf_ctl[]    addr, size, next, one per currency unit
    + a guard page

Pages are asked for one by one and their pointers kept on the stack, which is where the 36 bytes of the
review come from: 9 pages of 4-byte pointers. `pages[]` has room for twice the CPUs' pages, "extra for
block mgt": that is too little where the management pages are more than the CPUs' own (NR_CPUS below 5 on
i386), and the pointers of the rest land in the fields behind. as_posted keeps that; otherwise the
array is as long as it must be. mail_mode leaves the array out, as the review's "not dependent on NR_CPUS"
has it. Source: R. Thirumalai, "[patch 2/11] mm: Reimplementation of dynamic per-cpu allocator", LKML,
13 Sep 2005; his answer of 14 Jan 2005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel_sim.alignment import align_up
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES

BLOCK_BYTES: Final = 2 * PAGE_SIZE_BYTES
"""PCPU_BLKSIZE: bytes of one CPU in a block, the stride from CPU to CPU, and the largest object."""

PAGES_PER_CPU: Final = BLOCK_BYTES >> PAGE_SHIFT
INT_BYTES: Final = 4
NR_BUF_CTL_WORDS: Final = 3  # addr, size, next
NR_LIST_WORDS: Final = 2


@dataclass(frozen=True, slots=True)
class BlockGeometry:
    """Sizes of a build: NR_CPUS, pointer size, and the unit in which memory is given out."""

    word_bytes: int
    nr_cpus: int
    currency_bytes: int = INT_BYTES
    mail_mode: bool = False
    as_posted: bool = False

    @property
    def nr_objects(self) -> int:
        """OBJS_PER_BLOCK: currency units of a block, bits of its map, and the number of its buf_ctl."""
        return BLOCK_BYTES // self.currency_bytes

    @property
    def nr_cpu_pages(self) -> int:
        """PCPUPAGES_PER_BLOCK: pages of address space for all NR_CPUS."""
        return PAGES_PER_CPU * self.nr_cpus

    @property
    def nr_page_pointers(self) -> int:
        """Length of pages[]: the CPUs' pages, then the management pages."""
        if self.mail_mode:
            return 0
        posted = 2 * self.nr_cpu_pages
        if self.as_posted:
            return posted
        # One more pointer can need one more page, and that one more pointer; it ends at once.
        nr_pointers = posted
        while nr_pointers < self.nr_cpu_pages + self._nr_pages_with(nr_pointers):
            nr_pointers = self.nr_cpu_pages + self._nr_pages_with(nr_pointers)
        return nr_pointers

    @property
    def pages_offset(self) -> int:
        """Where pages[] is in the descriptor; start_addr is before it."""
        return self.word_bytes

    @property
    def list_offset(self) -> int:
        """Where the descriptor's list_head is: next, then prev."""
        return self.pages_offset + self.word_bytes * self.nr_page_pointers

    @property
    def bitmap_offset(self) -> int:
        """Where the map of used currency units is."""
        return self.list_offset + self.word_bytes * NR_LIST_WORDS

    @property
    def bitmap_bytes(self) -> int:
        """One bit a currency unit."""
        return self.nr_objects // 8

    @property
    def free_list_offset(self) -> int:
        """Where bufctl_fl[] is: of each free buf_ctl the next free one."""
        return self.bitmap_offset + self.bitmap_bytes

    @property
    def free_list_head_offset(self) -> int:
        """Where bufctl_fl_head is; size_used is behind it."""
        return self.free_list_offset + INT_BYTES * self.nr_objects

    @property
    def size_used_offset(self) -> int:
        """Where the bytes given out are counted."""
        return self.free_list_head_offset + INT_BYTES

    @property
    def descriptor_bytes(self) -> int:
        """sizeof(struct pcpu_block)."""
        return align_up(self.size_used_offset + INT_BYTES, self.word_bytes)

    @property
    def buf_ctl_bytes(self) -> int:
        """sizeof(struct buf_ctl)."""
        return NR_BUF_CTL_WORDS * self.word_bytes

    @property
    def management_bytes(self) -> int:
        """What is really used of the management pages."""
        return self.descriptor_bytes + self.buf_ctl_bytes * self.nr_objects

    @property
    def nr_management_pages(self) -> int:
        """BLOCK_MANAGEMENT_PAGES."""
        return align_up(self.management_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT

    @property
    def stack_bytes(self) -> int:
        """What the management pages' pointers take on valloc_percpu()'s stack."""
        return self.nr_management_pages * self.word_bytes

    @property
    def management_offset(self) -> int:
        """Where in a block the descriptor stands."""
        return self.nr_cpus * BLOCK_BYTES

    @property
    def area_bytes(self) -> int:
        """Address space of a block without the guard page behind it."""
        return self.management_offset + (self.nr_management_pages << PAGE_SHIFT)

    @property
    def nr_area_pages(self) -> int:
        """Pages of address space that a block costs, its guard page included."""
        return (self.area_bytes >> PAGE_SHIFT) + 1

    def nr_backed_pages(self, nr_possible_cpus: int) -> int:
        """Return the pages of memory that a block costs."""
        return PAGES_PER_CPU * nr_possible_cpus + self.nr_management_pages

    def buf_ctl_offset(self, index: int) -> int:
        """Return where in the management pages a buf_ctl is."""
        return self.descriptor_bytes + self.buf_ctl_bytes * index

    def _nr_pages_with(self, nr_page_pointers: int) -> int:
        """Return the management pages of a descriptor with so many page pointers."""
        scalars = NR_LIST_WORDS * self.word_bytes + self.bitmap_bytes
        tail = INT_BYTES * (self.nr_objects + 2) + self.buf_ctl_bytes * self.nr_objects
        total = self.word_bytes * (1 + nr_page_pointers) + scalars + tail
        return align_up(total, PAGE_SIZE_BYTES) >> PAGE_SHIFT
