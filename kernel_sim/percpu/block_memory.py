"""What the block allocator keeps in memory, written there by the CPU that runs it.

    kernel image   blkhead (next, prev)  firstnotfull  buf_head
    block          start_addr  pages[]  list (next, prev)  bitmap  bufctl_fl[]  bufctl_fl_head  size_used
                   buf_ctl[] {addr, size, next}

A dump of a block's management pages shows all of it, and the lists can be followed from blkhead and buf_head.
check() compares every byte that means something with what the allocator holds. A `struct page *` is
written as if mem_map lay behind the kernel image; the array itself is not modelled.
Source: struct pcpu_block, struct buf_ctl, "[patch 2/11]", LKML, 13 Sep 2005.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kernel_sim.errors import BadAccess, InvariantBroken, KernelBug
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_geometry import INT_BYTES, PAGES_PER_CPU, BlockGeometry
from kernel_sim.percpu.block_pool import BlockPool, GivenBack
from kernel_sim.percpu.buf_ctl import BufCtl

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

STRUCT_PAGE_BYTES: Final = {4: 32, 8: 56}  # by pointer size, 2.6.13
NR_VARIABLE_WORDS: Final = 4
Order = tuple[tuple[Block, ...], Block | None]


@dataclass(slots=True)
class BlockMemory:
    """Writes of one machine's block allocator; sizes and offsets are the geometry's, computed once."""

    machine: Machine
    geometry: BlockGeometry
    variables_addr: int
    word_bytes: int = field(init=False)
    management_offset: int = field(init=False)
    list_offset: int = field(init=False)
    descriptor_bytes: int = field(init=False)
    nr_page_pointers: int = field(init=False)

    def __post_init__(self) -> None:
        self.word_bytes = self.geometry.word_bytes
        self.management_offset = self.geometry.management_offset
        self.list_offset = self.geometry.list_offset
        self.descriptor_bytes = self.geometry.descriptor_bytes
        self.nr_page_pointers = self.geometry.nr_page_pointers

    @property
    def variables(self) -> dict[str, int]:
        """Addresses of the allocator's variables."""
        names = ("blkhead", "firstnotfull", "buf_head")
        places = zip(names, (0, 2, 3), strict=True)
        return {name: self.variables_addr + at * self.word_bytes for name, at in places}

    # -- making a block --------------------------------------------------------------------------

    def init_block(self, cpu: int, start_addr: int, management_pfns: list[int]) -> None:
        """Write a new descriptor: the free list of buf_ctl's and the management pages."""
        nr_objects = self.geometry.nr_objects
        free_list = [*range(1, nr_objects), -1]
        self._write(cpu, self._at(start_addr, self.geometry.free_list_offset), _ints(free_list))
        for index, pfn in enumerate(management_pfns):
            self.set_page(cpu, start_addr, self.geometry.nr_cpu_pages + index, pfn)

    def set_start(self, cpu: int, block: Block) -> None:
        """Write where the block starts, when it is made known."""
        self._write(cpu, self._at(block.start_addr, 0), self._words(block.start_addr))

    def set_page(self, cpu: int, start_addr: int, index: int, pfn: int | None) -> None:
        """Write an entry of pages[], which as posted may lie behind its end."""
        if self.nr_page_pointers:
            pointer = 0 if pfn is None else self.page_pointer(pfn)
            self._write(cpu, self._page_slot(start_addr, index), self._words(pointer))

    def page_of(self, cpu: int, block: Block, index: int) -> int | None:
        """Return the page that an entry of pages[] names, None if it names none.

        Raises PageFault where the descriptor is not mapped, KernelBug for a pointer to no page.
        """
        if not self.nr_page_pointers:
            return _page_known(block, index - self.geometry.nr_cpu_pages, index)
        slot = self._page_slot(block.start_addr, index)
        pointer = self.machine.access.read_int(cpu, slot, self.word_bytes)
        return self._pfn_of(pointer) if pointer else None

    # -- objects and lists -----------------------------------------------------------------------

    def note_taken(self, cpu: int, pool: BlockPool, buf_ctl: BufCtl, before: Order) -> None:
        """Write what an allocation changed."""
        block = pool.blocks[buf_ctl.block_number]
        self._write_bits(cpu, block, buf_ctl)
        self._write_counts(cpu, block)
        record = (
            buf_ctl.addr,
            buf_ctl.size_bytes,
            self._buf_ctl_pointer(pool, pool.objects.after(buf_ctl)),
        )
        self._write(cpu, self._buf_ctl_addr(block, buf_ctl.index), self._words(*record))
        self._write_buf_head(cpu, pool)
        self.write_order(cpu, pool, before)

    def note_given(self, cpu: int, pool: BlockPool, given: GivenBack, before: Order) -> None:
        """Write what a free changed."""
        block, index = given.block, given.buf_ctl.index
        if block.size_used:
            self._write_bits(cpu, block, given.buf_ctl)
        entry = self._at(block.start_addr, self.geometry.free_list_offset + INT_BYTES * index)
        self._write(cpu, entry, _ints([block.free_list.next_of(index)]))
        self._write_counts(cpu, block)
        if given.before is None:
            self._write_buf_head(cpu, pool)
        else:
            owner = pool.blocks[given.before.block_number]
            at = self._buf_ctl_addr(owner, given.before.index) + 2 * self.word_bytes
            behind = self._buf_ctl_pointer(pool, pool.objects.after(given.before))
            self._write(cpu, at, self._words(behind))
        self.write_order(cpu, pool, before)

    def write_order(self, cpu: int, pool: BlockPool, before: Order) -> None:
        """Write the list pointers that are not as before, and firstnotfull."""
        blocks, first = order_of(pool)
        if blocks != before[0]:
            known = dict(self._links(before[0]))
            for addr, names in self._links(blocks):
                if known.get(addr) != names:
                    self._write(cpu, addr, self._words(*names))
        if first is not before[1]:
            at = self.variables["firstnotfull"]
            self._write(cpu, at, self._words(self._list_head_of(first)))

    def empty_list(self) -> tuple[int, ...]:
        """Return what the variables hold before the first block: a list that is its own neighbour."""
        return (self.variables_addr,) * 3 + (0,)

    # -- checking --------------------------------------------------------------------------------

    def check(self, pool: BlockPool) -> None:
        """Raise InvariantBroken unless memory says what the allocator holds."""
        blocks, first = order_of(pool)
        links = dict(self._links(blocks))
        head = self._words(*links.pop(self.variables_addr))
        tail = self._words(
            self._list_head_of(first), self._buf_ctl_pointer(pool, pool.objects.head)
        )
        self._expect("the allocator's variables", self.variables_addr, head + tail)
        pointers = self._next_pointers(pool)
        for block in pool.blocks.values():
            for what, addr, data in self._descriptor(block, links, pointers):
                self._expect(f"block {block.number}: {what}", addr, data)

    def _descriptor(
        self, block: Block, links: dict[int, tuple[int, int]], pointers: dict[int, int]
    ) -> Iterator[tuple[str, int, bytes]]:
        """Yield every field of a block as it should be: its name, address and bytes."""
        geometry, start = self.geometry, block.start_addr
        list_head = self._list_head_of(block)
        free_list = [block.free_list.next_of(index) for index in range(geometry.nr_objects)]
        yield "start_addr", self._at(start, 0), self._words(start)
        for index, pfn in _pages_of(block, geometry.nr_cpu_pages):
            if index < self.nr_page_pointers:
                slot = self._page_slot(start, index)
                yield f"pages[{index}]", slot, self._words(self.page_pointer(pfn))
        yield "list", list_head, self._words(*links[list_head])
        bitmap = block.bitmap.to_bytes(geometry.bitmap_bytes, "little")
        yield "bitmap", self._at(start, geometry.bitmap_offset), bitmap
        yield "bufctl_fl", self._at(start, geometry.free_list_offset), _ints(free_list)
        counts = _ints([block.free_list.head, block.size_used])
        yield "bufctl_fl_head", self._at(start, geometry.free_list_head_offset), counts
        for index, buf_ctl in block.buf_ctls.items():
            record = self._words(buf_ctl.addr, buf_ctl.size_bytes, pointers[buf_ctl.serial])
            yield f"buf_ctl {index}", self._buf_ctl_addr(block, index), record

    def _next_pointers(self, pool: BlockPool) -> dict[int, int]:
        """Return what each object's `next` should say, by its serial."""
        pointers: dict[int, int] = {}
        newer: BufCtl | None = None
        for buf_ctl in pool.objects:
            if newer is not None:
                pointers[newer.serial] = self._buf_ctl_pointer(pool, buf_ctl)
            newer = buf_ctl
        if newer is not None:
            pointers[newer.serial] = 0
        return pointers

    def _expect(self, what: str, virt: int, data: bytes) -> None:
        done = 0
        while done < len(data):
            phys = self.machine.space.translate(virt + done)
            nr_bytes = min(len(data) - done, PAGE_SIZE_BYTES - (virt + done) % PAGE_SIZE_BYTES)
            found = None if phys is None else self.machine.memory.read(phys, nr_bytes)
            if found != data[done : done + nr_bytes]:
                shown = "nothing mapped" if found is None else found[:16].hex()
                raise InvariantBroken(
                    f"{what}: at {virt + done:#x} is {shown}, expected {data[done : done + 16].hex()}"
                )
            done += nr_bytes

    # -- bytes and addresses ---------------------------------------------------------------------

    def page_pointer(self, pfn: int) -> int:
        """Return the struct page * of a page."""
        return self._mem_map() + pfn * STRUCT_PAGE_BYTES[self.word_bytes]

    def _mem_map(self) -> int:
        machine = self.machine
        image_phys = machine.image_addr - machine.arch.image_map_addr
        return machine.arch.direct_map_addr + image_phys + machine.image_bytes

    def _pfn_of(self, pointer: int) -> int:
        pfn, rest = divmod(pointer - self._mem_map(), STRUCT_PAGE_BYTES[self.word_bytes])
        try:
            if rest or pfn < 0:
                raise BadAccess("not in mem_map")
            self.machine.pages.zone_of_pfn(pfn)
        except BadAccess as problem:
            raise KernelBug(
                f"Bad page state: pages[] of a block names {pointer:#x}, where no struct page is"
            ) from problem
        return pfn

    def _page_slot(self, start_addr: int, index: int) -> int:
        return self._at(start_addr, self.geometry.pages_offset + index * self.word_bytes)

    def _at(self, start_addr: int, offset_bytes: int) -> int:
        return start_addr + self.management_offset + offset_bytes

    def _buf_ctl_addr(self, block: Block, index: int) -> int:
        offset = self.descriptor_bytes + 3 * self.word_bytes * index
        return self._at(block.start_addr, offset)

    def _buf_ctl_pointer(self, pool: BlockPool, buf_ctl: BufCtl | None) -> int:
        if buf_ctl is None:
            return 0
        return self._buf_ctl_addr(pool.blocks[buf_ctl.block_number], buf_ctl.index)

    def _list_head_of(self, block: Block | None) -> int:
        return (
            self.variables_addr if block is None else self._at(block.start_addr, self.list_offset)
        )

    def _links(self, blocks: tuple[Block, ...]) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield every list_head's address with what its next and prev name."""
        ring = [self.variables_addr, *map(self._list_head_of, blocks)]
        for at, addr in enumerate(ring):
            yield addr, (ring[(at + 1) % len(ring)], ring[at - 1])

    def _write_bits(self, cpu: int, block: Block, buf_ctl: BufCtl) -> None:
        first_bit = (buf_ctl.addr - block.start_addr) // block.currency_bytes
        first = first_bit // 8
        end = (first_bit + buf_ctl.size_bytes // block.currency_bytes + 7) // 8
        bits = block.bitmap >> 8 * first & (1 << 8 * (end - first)) - 1
        addr = self._at(block.start_addr, self.geometry.bitmap_offset + first)
        self._write(cpu, addr, bits.to_bytes(end - first, "little"))

    def _write_counts(self, cpu: int, block: Block) -> None:
        addr = self._at(block.start_addr, self.geometry.free_list_head_offset)
        self._write(cpu, addr, _ints([block.free_list.head, block.size_used]))

    def _write_buf_head(self, cpu: int, pool: BlockPool) -> None:
        head = self._buf_ctl_pointer(pool, pool.objects.head)
        self._write(cpu, self.variables["buf_head"], self._words(head))

    def _write(self, cpu: int, addr: int, data: bytes) -> None:
        self.machine.access.write(cpu, addr, data)

    def _words(self, *values: int) -> bytes:
        return b"".join(value.to_bytes(self.word_bytes, "little") for value in values)


def order_of(pool: BlockPool) -> Order:
    """Return the list as it is now, to be compared with later."""
    return tuple(pool.order.blocks), pool.order.first_not_full


def _ints(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(INT_BYTES, "little", signed=True) for value in values)


def _pages_of(block: Block, first_management: int) -> Iterator[tuple[int, int]]:
    """Yield (index in pages[], pfn) of every page of a block."""
    for cpu, pfns in block.cpu_pfns.items():
        for at, pfn in enumerate(pfns):
            yield cpu * PAGES_PER_CPU + at, pfn
    for at, pfn in enumerate(block.management_pfns):
        yield first_management + at, pfn


def _page_known(block: Block, at: int, index: int) -> int | None:
    """Return the page of an index where no pages[] is kept."""
    if at >= 0:
        return block.management_pfns[at]
    pfns = block.cpu_pfns.get(index // PAGES_PER_CPU)
    return None if pfns is None else pfns[index % PAGES_PER_CPU]
