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
