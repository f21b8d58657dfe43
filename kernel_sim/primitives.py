"""What a kernel path may await. Every await of a primitive is a preemption point.

A primitive is not a coroutine: awaiting one hands a word to the scheduler and comes back when the CPU
is resumed, so the chain of coroutines above it holds kernel functions only and reads as a call stack.

    await PREEMPT            somebody else may run here
    await lock               wait until the lock is free; the scheduler gives it to this CPU
    lock.release()           at once, no preemption point of its own

Waiting is declared, not spun: a CPU that wants a held lock is simply not picked, and who waits for what
can be read from the machine at any step.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from kernel_sim.errors import KernelBug

T = TypeVar("T")
UNDISTURBED_CPU = 0


class Preempt:
    """A bare preemption point."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        """Hand the CPU to the scheduler once."""
        yield None


PREEMPT = Preempt()


@dataclass(slots=True)
class Lock:
    """A spinlock (irqs_off) or a mutex of the simulated kernel.

    holder is the CPU that has it, or -1. A spinlock keeps interrupts of its CPU out.
    """

    name: str
    irqs_off: bool
    holder: int = -1
    is_csd: bool = False  # only waits until another CPU has done what it was asked

    def __await__(self) -> Generator[Lock, None, None]:
        """Ask for the lock; the scheduler resumes the CPU once it has been given to it."""
        yield self

    def release(self) -> None:
        """Give the lock back; whoever waits may be resumed from the next step on."""
        self.holder = -1


Wish: TypeAlias = Lock | None


def run_undisturbed(path: Coroutine[Wish, None, T]) -> T:
    """Run a kernel path to its end with nobody coming between, and return its result.

    Raises KernelBug if it wants a lock that somebody holds.
    """
    while True:
        try:
            wish = path.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        if wish is not None:
            if wish.holder >= 0:
                path.close()
                raise KernelBug(f"{wish.name} is held by cpu {wish.holder}")
            wish.holder = UNDISTURBED_CPU
