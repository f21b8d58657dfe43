"""When a CPU can take a step."""

from __future__ import annotations

from kernel_sim.call import Call
from kernel_sim.cpu import Cpu
from kernel_sim.primitives import Lock


def test_an_idle_cpu_cannot_run() -> None:
    cpu = Cpu(0, 0, True)
    assert cpu.current is None
    assert not cpu.is_runnable()


def test_the_last_call_of_the_stack_decides() -> None:
    below, above = Call("a", 0, (), parked=True), Call("b", 0, ())
    cpu = Cpu(0, 0, True, stack=[below, above])
    assert cpu.current is above
    assert cpu.is_runnable()
    cpu.stack.pop()
    assert not cpu.is_runnable()


def test_who_wants_a_lock_runs_once_it_is_free() -> None:
    lock = Lock("l", irqs_off=False, holder=1)
    cpu = Cpu(0, 0, True, stack=[Call("a", 0, (), wish=lock)])
    assert not cpu.is_runnable()
    lock.release()
    assert cpu.is_runnable()
