"""A call into the simulated kernel: what is under way, read off the live coroutines."""

from __future__ import annotations

from kernel_sim.call import IN_IRQ, Call
from kernel_sim.primitives import PREEMPT, Lock


async def inner(lock: Lock) -> int:
    await PREEMPT
    await lock
    return 7


async def outer(lock: Lock) -> int:
    return await inner(lock) + 1


def test_frames_are_the_functions_under_way_innermost_first() -> None:
    lock = Lock("l", irqs_off=True)
    call = Call("outer", 0, ())
    assert call.frames() == ("outer",), "it waits in line: where it will begin"
    call.path = outer(lock)
    assert call.frames() == ("outer",)
    call.path.send(None)
    assert call.frames() == ("inner", "outer")
    assert call.path.send(None) is lock
    assert call.frames() == ("inner", "outer")
    call.path.close()
    call.done, call.path = True, None
    assert call.frames() == ()


def test_progress_tells_every_preemption_point_apart() -> None:
    lock = Lock("l", irqs_off=True)
    call = Call("outer", 0, (1, "x"), IN_IRQ)
    call.path = outer(lock)
    seen = [call.progress()]
    for _ in range(2):
        call.wish = call.path.send(None)
        call.nr_resumed += 1
        seen.append(call.progress())
    assert seen[2] == ("outer", (1, "x"), "irq", 2, "l", 0, False, ("inner", "outer"))
    assert len(dict.fromkeys(seen)) == 3
    call.path.close()
