"""Which objects there are: a buf_ctl for each, and the lists that they are on.

    of a block     bufctl_fl_head ─► 3 ─► 7 ─► 8 ─► … ─► -1     buf_ctl's that are free, by index
    of all blocks  buf_head ─► newest object ─► … ─► oldest     searched from its head by every free

A buf_ctl lies in the management pages of the block that its object is in, yet it is on the one list of
all blocks. Source: alloc_bufctl(), free_bufctl(), add_bufctl(), free_percpu(), "[patch 2/11]",
LKML, 13 Sep 2005.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from kernel_sim.errors import KernelBug

END_OF_LIST: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class BufCtl:
    """An object: where CPU 0's copy is, its bytes, and which buf_ctl of which block says so.

    serial grows with every object made; the global list has them newest first.
    """

    serial: int
    block_number: int
    index: int
    addr: int
    size_bytes: int


@dataclass(slots=True)
class BufCtlFreeList:
    """The free buf_ctl's of a block; links holds what bufctl_fl[] says where it is not i + 1."""

    nr_buf_ctls: int
    head: int = 0
    links: dict[int, int] = field(default_factory=dict)

    def next_of(self, index: int) -> int:
        """Return what bufctl_fl[index] says."""
        after = index + 1 if index + 1 < self.nr_buf_ctls else END_OF_LIST
        return self.links.get(index, after)

    def pop(self) -> int:
        """Take the first free buf_ctl; its entry stays as it is. Raises KernelBug if there is none."""
        index = self.head
        if not 0 <= index < self.nr_buf_ctls:
            raise KernelBug(
                "kernel BUG at mm/percpu.c: alloc_bufctl() of a block that has none left"
            )
        self.head = self.next_of(index)
        return index

    def push(self, index: int) -> None:
        """Make a buf_ctl the first free one."""
        self.links[index] = self.head
        self.head = index

    def free_indexes(self) -> Iterator[int]:
        """Yield the free buf_ctl's in the order in which they will be taken.

        Raises KernelBug if the list does not end.
        """
        index = self.head
        for _ in range(self.nr_buf_ctls + 1):
            if index == END_OF_LIST:
                return
            yield index
            index = self.next_of(index)
        raise KernelBug("the list of free buf_ctl's of a block goes round in a circle")


@dataclass(slots=True)
class BufCtlList:
    """The list of all objects of all blocks; kept oldest first, so that its head is at the end."""

    _oldest_first: list[BufCtl] = field(default_factory=list)
    _by_addr: dict[int, BufCtl] = field(default_factory=dict)

    @classmethod
    def of(cls, buf_ctls: Iterable[BufCtl]) -> BufCtlList:
        """Return the list that has these, the one with the highest serial at its head."""
        made = cls()
        for buf_ctl in sorted(buf_ctls, key=lambda each: each.serial):
            made.push(buf_ctl)
        return made

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self._oldest_first)

    def __iter__(self) -> Iterator[BufCtl]:
        """Go from the head to the end."""
        return reversed(self._oldest_first)

    @property
    def head(self) -> BufCtl | None:
        """The newest object, None if there is none."""
        return self._oldest_first[-1] if self._oldest_first else None

    def push(self, buf_ctl: BufCtl) -> None:
        """Put an object at the head."""
        self._oldest_first.append(buf_ctl)
        self._by_addr[buf_ctl.addr] = buf_ctl

    def find(self, addr: int) -> BufCtl | None:
        """Return the object whose CPU 0 copy is at addr."""
        return self._by_addr.get(addr)

    def nr_searched(self, buf_ctl: BufCtl) -> int:
        """Return how many buf_ctl's a search from the head looks at until it finds this one."""
        return len(self._oldest_first) - self._oldest_first.index(buf_ctl)

    def after(self, buf_ctl: BufCtl) -> BufCtl | None:
        """Return the one that this one's `next` names."""
        at = self._oldest_first.index(buf_ctl)
        return self._oldest_first[at - 1] if at else None

    def remove(self, buf_ctl: BufCtl) -> BufCtl | None:
        """Take an object off; returns the one whose `next` changed, None if it was the head."""
        at = self._oldest_first.index(buf_ctl)
        del self._oldest_first[at]
        del self._by_addr[buf_ctl.addr]
        return self._oldest_first[at] if at < len(self._oldest_first) else None
