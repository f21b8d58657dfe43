"""What a kernel path may await."""

from __future__ import annotations

import pytest

from kernel_sim.primitives import PREEMPT, Lock


async def path(lock: Lock) -> str:
    await PREEMPT
    await lock
    lock.release()
    return "done"


def test_each_primitive_is_one_preemption_point_and_a_lock_says_what_it_waits_for() -> None:
    lock = Lock("pcpu_lock", irqs_off=True)
    running = path(lock)
    assert running.send(None) is None
    assert running.send(None) is lock
    lock.holder = 3
    with pytest.raises(StopIteration) as end:
        running.send(None)
    assert end.value.value == "done"
    assert lock.holder == -1


def test_a_fresh_lock_is_free() -> None:
    assert Lock("m", irqs_off=False).holder == -1
