"""A call into the simulated kernel: what was asked, how far it has come, what came of it.

    given ──► pending (its CPU is busy) ──► running, a chain of coroutines ──► done, with a result
                                              │      ▲
                                              └parked┘  held at a preemption point by an input

The live coroutine is the only thing here that is not plain data. It exists between two quiet moments and is
never kept: a keyframe is taken when no call is under way, and everything between is executed again.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from kernel_sim.primitives import Lock, Wish

Arg: TypeAlias = int | str | bool | bytes
KernelPath: TypeAlias = Coroutine[Wish, None, object]

CO_COROUTINE = 0x80  # flag of the code of an async def
IN_TASK = "task"
IN_IRQ = "irq"
IN_KWORKER = "kworker"
IN_KTHREAD = "kthread"  # runs when the CPU is idle or its call sleeps on a mutex
IN_STOPPER = "stopper"  # runs when nothing else is on the CPU


@dataclass(slots=True)
class Call:
    """One call on one CPU; call_site is who made it, as far as a trace told us."""

    name: str
    cpu: int
    args: tuple[Arg, ...]
    context: str = IN_TASK
    path: KernelPath | None = None
    wish: Lock | None = None  # the lock it waits for
    nr_resumed: int = 0
    nr_lock_waits: int = (
        0  # how often it asked for a lock: where it stands, for whoever holds it there
    )
    park_at: int = 0  # asking for a lock for the so-manieth time parks it; 0: never
    parked: bool = False
    done: bool = False
    result: object = None
    csd: Lock | None = None  # held by this CPU until the call is done: another CPU waits for it

    def may_begin(self, stack: list[Call], keeps_interrupts_out: bool) -> bool:
        """Say whether the CPU with this stack of calls can take this one up now."""
        if self.context == IN_IRQ:
            return not keeps_interrupts_out
        if self.context == IN_KTHREAD and stack:
            wish = stack[-1].wish
            return wish is not None and wish.holder >= 0 and not wish.irqs_off
        return not stack

    def begin_anew(self) -> None:
        """Forget how far it has come, for a call that did nothing but wait for its first lock."""
        if self.path is not None:
            self.path.close()
        self.path = self.wish = None
        self.nr_resumed = self.nr_lock_waits = 0

    def frames(self) -> tuple[str, ...]:
        """Return the kernel functions under way, innermost first."""
        if self.path is None:
            return () if self.done else (self.name,)
        names: list[str] = []
        # cr_await is whatever the coroutine awaits: the next kernel function, or a primitive's generator.
        awaited: Any = self.path
        while awaited is not None and hasattr(awaited, "cr_await"):
            names.append(awaited.cr_code.co_name)
            awaited = awaited.cr_await
        return tuple(reversed(names))

    def progress(self) -> tuple[object, ...]:
        """Return where the call stands as plain data, for a digest taken in its midst."""
        waits_for = self.wish.name if self.wish else ""
        return (
            self.name, self.args, self.context, self.nr_resumed, waits_for, self.park_at, self.parked,
            self.frames(),
        )  # fmt: skip


async def csd_lock_wait(call: Call) -> None:
    """Wait until another CPU is done with a call that it was asked to make."""
    csd = call.csd
    if csd is not None:
        await csd
        csd.release()


def frames_of(problem: BaseException) -> tuple[str, ...]:
    """Return the kernel functions through which an exception came, innermost first.

    When it arrives, the chain of coroutines is gone; its traceback still names them.
    """
    names: list[str] = []
    trace = problem.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_flags & CO_COROUTINE:
            names.append(code.co_name)
        trace = trace.tb_next
    return tuple(reversed(names))
