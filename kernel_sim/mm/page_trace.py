"""A page allocator that tells of every block: what [trace] kmem switches on.

    mm_page_alloc   pfn, order, flags, and the node that gave it
    mm_page_free    pfn, order

It costs an event for every page, so it is a kind of allocator of its own and the others do not ask.
"""

from __future__ import annotations

from collections.abc import Callable

from kernel_sim.events import Event, MmPageAlloc, MmPageFree
from kernel_sim.mm.page_alloc import PageAllocator


def tell_nobody(cpu: int, event: Event) -> None:
    """Drop the event: the machine that would take it does not stand yet."""


class TracedPageAllocator(PageAllocator):
    """PageAllocator with the two tracepoints; trace takes (cpu, event)."""

    __slots__ = ("trace",)
    trace: Callable[[int, Event], None]

    def __post_init__(self) -> None:
        """Begin silent: boot is not traced."""
        super().__post_init__()
        self.trace = tell_nobody

    def alloc_pages(
        self,
        *,
        gfp: int,
        order: int,
        node: int,
        cpu: int = 0,
        injectable: bool = False,
        caller: str = "",
    ) -> int | None:
        """Do as PageAllocator does, and tell of what was given."""
        pfn = super().alloc_pages(
            gfp=gfp, order=order, node=node, cpu=cpu, injectable=injectable, caller=caller
        )
        if pfn is not None:
            self.trace(cpu, MmPageAlloc(pfn, order, gfp, self.node_of_pfn(pfn)))
        return pfn

    def free_pages(self, pfn: int, order: int, cpu: int = 0, cold: bool = False) -> None:
        """Do as PageAllocator does, and tell of what came back."""
        super().free_pages(pfn, order, cpu, cold)
        self.trace(cpu, MmPageFree(pfn, order))
