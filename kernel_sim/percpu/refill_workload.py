"""Random sizes, filled up, thinned out and filled up again: how much of the memory is used then?

    fill       allocate until nr_misfits requests did not fit
    nr_rounds  times:  free a random share of what lives, then fill again

The mail of 14 Jan 2005 tells of "98% utilization with random sized allocations after repeated random
frees", and gives no sizes. This workload is ours: counter-like structures of 4 to 64 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kernel_sim.random_state import RandomState

MAX_REQUESTS = 1 << 20
"""So many requests that all fit mean that there is no limit to what could be filled."""


@dataclass(slots=True)
class RefillWorkload:
    """Sizes are uniform; what lives is kept in order, for the same seed to do the same."""

    random: RandomState
    smallest_bytes: int = 4
    largest_bytes: int = 64
    nr_rounds: int = 8
    freed_percent: int = 30
    nr_misfits: int = 1
    live: list[int] = field(default_factory=list)

    def run(self, alloc: Callable[[int], int], free: Callable[[int], None]) -> None:
        """Do all rounds. alloc(size) gives an address or 0, free(address) takes it back.

        Raises ValueError if nothing ever stops fitting.
        """
        self.fill(alloc)
        for _ in range(self.nr_rounds):
            self.thin_out(free)
            self.fill(alloc)

    def fill(self, alloc: Callable[[int], int]) -> None:
        """Allocate until as many requests as nr_misfits did not fit."""
        nr_failed = 0
        for _ in range(MAX_REQUESTS):
            ptr = alloc(self.next_size())
            if ptr:
                self.live.append(ptr)
                continue
            nr_failed += 1
            if nr_failed >= self.nr_misfits:
                return
        raise ValueError(f"{MAX_REQUESTS} requests fit: expected memory that has an end")

    def thin_out(self, free: Callable[[int], None]) -> None:
        """Free the share of what lives, chosen at random."""
        for _ in range(len(self.live) * self.freed_percent // 100):
            at = self.random.below(len(self.live))
            self.live[at], self.live[-1] = self.live[-1], self.live[at]
            free(self.live.pop())

    def next_size(self) -> int:
        """Return the size of the next request."""
        return self.smallest_bytes + self.random.below(self.largest_bytes - self.smallest_bytes + 1)
