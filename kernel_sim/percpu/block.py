"""One block: which of its bytes are given out to whom, and which pages stand behind it.

    bitmap       0 1 1 1 0 …   a bit per currency unit, the same for every CPU's part
    buf_ctls     index ─► object       those in use; the others are on the free list
    cpu_pfns     CPU ─► its pages      of the CPUs that were possible when it was made, or came since
    management   pages with the descriptor and the buf_ctl's

This is what is so; block_descriptor.py writes the same into the management pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernel_sim.errors import KernelBug
from kernel_sim.percpu.block_geometry import BLOCK_BYTES, BlockGeometry
from kernel_sim.percpu.buf_ctl import BufCtl, BufCtlFreeList
from kernel_sim.percpu.object_map import FreeRun, find_place, make_object_map


@dataclass(slots=True, eq=False)
class Block:
    """A block at start_addr; number counts the blocks ever made, changed is for who keeps dumps."""

    start_addr: int
    currency_bytes: int
    free_list: BufCtlFreeList
    number: int = -1
    buf_ctls: dict[int, BufCtl] = field(default_factory=dict)
    bitmap: int = 0
    size_used: int = 0
    cpu_pfns: dict[int, tuple[int, ...]] = field(default_factory=dict)
    management_pfns: tuple[int, ...] = ()
    changed: bool = True
    _object_map: tuple[FreeRun, ...] | None = field(default=None, repr=False)

    @classmethod
    def fresh(cls, geometry: BlockGeometry, start_addr: int) -> Block:
        """Return a block without objects and pages; it gets its number when it is made known."""
        free_list = BufCtlFreeList(geometry.nr_objects)
        return cls(start_addr, geometry.currency_bytes, free_list)

    @property
    def is_full(self) -> bool:
        """Whether every byte is given out."""
        return self.size_used == BLOCK_BYTES

    def object_map(self) -> tuple[FreeRun, ...]:
        """Return its free runs, the smallest first."""
        if self._object_map is None:
            self._object_map = make_object_map(
                self.bitmap,
                nr_bits=BLOCK_BYTES // self.currency_bytes,
                currency_bytes=self.currency_bytes,
            )
        return self._object_map

    def find_place(self, *, size_bytes: int, align: int) -> int | None:
        """Return the bit at which an object goes, None if there is no place."""
        return find_place(
            self.object_map(),
            size_bytes=size_bytes,
            align=align,
            start_addr=self.start_addr,
            currency_bytes=self.currency_bytes,
        )

    def take(self, bit: int, *, size_bytes: int, serial: int) -> BufCtl:
        """Give out size_bytes from a bit on. Raises KernelBug without a free buf_ctl."""
        index = self.free_list.pop()
        addr = self.start_addr + bit * self.currency_bytes
        buf_ctl = BufCtl(serial, self.number, index, addr, size_bytes)
        self.buf_ctls[index] = buf_ctl
        self.bitmap |= self.bits_of(buf_ctl)
        self.size_used += size_bytes
        self._note_change()
        return buf_ctl

    def give_back(self, buf_ctl: BufCtl) -> None:
        """Take an object back; its buf_ctl is the first free one then."""
        del self.buf_ctls[buf_ctl.index]
        self.bitmap &= ~self.bits_of(buf_ctl)
        self.size_used -= buf_ctl.size_bytes
        self.free_list.push(buf_ctl.index)
        self._note_change()

    def adopt(self, buf_ctl: BufCtl) -> None:
        """Have an object that a dump tells of; the free list is told of by itself.

        Raises KernelBug if it does not fit in.
        """
        offset_bytes = buf_ctl.addr - self.start_addr
        fits = 0 <= offset_bytes <= BLOCK_BYTES - buf_ctl.size_bytes and buf_ctl.size_bytes > 0
        if not fits or (offset_bytes | buf_ctl.size_bytes) % self.currency_bytes:
            raise KernelBug(f"block {self.number}: no object can lie at {buf_ctl.addr:#x}")
        bits = self.bits_of(buf_ctl)
        if self.bitmap & bits or buf_ctl.index in self.buf_ctls:
            raise KernelBug(
                f"block {self.number}: two objects at {buf_ctl.addr:#x} or of one buf_ctl"
            )
        self.buf_ctls[buf_ctl.index] = buf_ctl
        self.bitmap |= bits
        self.size_used += buf_ctl.size_bytes
        self._object_map = None

    def bits_of(self, buf_ctl: BufCtl) -> int:
        """Return the bits of the map that an object has."""
        nr_bits = buf_ctl.size_bytes // self.currency_bytes
        return (1 << nr_bits) - 1 << (buf_ctl.addr - self.start_addr) // self.currency_bytes

    def _note_change(self) -> None:
        self._object_map = None
        self.changed = True
