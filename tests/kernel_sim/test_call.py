"""A call into the simulated kernel: what is under way, read off the live coroutines."""

from __future__ import annotations

from kernel_sim.call import IN_IRQ, IN_KTHREAD, IN_STOPPER, Call
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


def test_a_call_that_only_waited_may_begin_anew() -> None:
    lock = Lock("l", irqs_off=False, holder=3)
    call = Call("outer", 0, ())
    call.path = outer(lock)
    for _ in range(2):
        call.wish = call.path.send(None)
        call.nr_resumed += 1
    assert call.wish is lock
    call.begin_anew()
    assert (call.path, call.wish, call.nr_resumed) == (None, None, 0)
    assert call.progress() == Call("outer", 0, ()).progress()


def test_who_may_begin_on_a_busy_cpu() -> None:
    spinlock, mutex = Lock("s", irqs_off=True, holder=1), Lock("m", irqs_off=False, holder=1)
    running, sleeping, spinning = (
        Call("outer", 0, (), wish=wish) for wish in (None, mutex, spinlock)
    )
    answers = {
        context: [
            Call("f", 0, (), context).may_begin(stack, False)
            for stack in ([], [running], [sleeping], [spinning])
        ]
        for context in (IN_IRQ, IN_KTHREAD, IN_STOPPER)
    }
    assert answers == {
        IN_IRQ: [True, True, True, True],
        IN_KTHREAD: [True, False, True, False],
        IN_STOPPER: [True, False, False, False],
    }
    assert not Call("f", 0, (), IN_IRQ).may_begin([running], True)
