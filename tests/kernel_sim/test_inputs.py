"""What comes into a machine from outside: calls and knobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.inputs import KNOBS, Input, apply_input

Build = Callable[..., Any]


def test_a_call_is_begun_and_returned(small_kernel: Build) -> None:
    kernel = small_kernel()
    call = apply_input(kernel.machine, Input(0, "pcpu_alloc", 1, (8, 8, False, 0xCC0, "f")))
    assert call is not None and kernel.machine.cpus[1].current is call
    assert kernel.machine.step == 0


@pytest.mark.parametrize("name", [n for n in KNOBS if not n.startswith("adopt")])
def test_a_knob_takes_one_step(small_kernel: Build, name: str) -> None:
    kernel = small_kernel()
    args = {
        "run_to_lock": (1,), "fail_pages": (3,), "async_work": (False,),
        "fail_page_alloc": ("nth=3",), "cpuhp_fail": (1, 36),
    }.get(name, ())  # fmt: skip
    assert apply_input(kernel.machine, Input(0, name, 0, args)) is None
    assert kernel.machine.step == 1
    kernel.check()


def test_the_kworker_is_a_call_of_its_own(small_kernel: Build) -> None:
    kernel = small_kernel()
    call = apply_input(kernel.machine, Input(0, "kworker", 2))
    assert call is not None and (call.name, call.cpu) == ("pcpu_balance_workfn", 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Input(7, "pcpu_alloc", 9), "input pcpu_alloc at step 7: there is no CPU 9"),
        (Input(7, "reboot", 0), "input at step 7: 'reboot' is neither a call nor a knob"),
    ],
)
def test_what_this_machine_cannot_take_is_refused(
    small_kernel: Build, given: Input, message: str
) -> None:
    kernel = small_kernel()
    with pytest.raises(ConfigError) as caught:
        apply_input(kernel.machine, given)
    assert str(caught.value) == message
    assert kernel.machine.step == 0


@pytest.mark.parametrize(
    "given",
    [
        Input(0, "pcpu_alloc", 0, ()),
        Input(0, "pcpu_alloc", 0, ("8", 8, False, 0xCC0, "f")),
        Input(0, "free_percpu", 0, ("x",)),
        Input(0, "this_cpu_write", 0, (0, 0, 8, 9)),
        Input(0, "fail_pages", 0, ()),
        Input(0, "fail_pages", 0, ("two",)),
        Input(0, "run_to_lock", 0, (1, 2)),
        Input(0, "adopt_free", 0, (0,)),
    ],
    ids=lambda given: f"{given.do}{given.args}",
)
def test_wrong_arguments_are_refused_in_words(small_kernel: Build, given: Input) -> None:
    """Inputs come from files of strangers: a TypeError later would be a traceback for the user."""
    kernel = small_kernel()
    with pytest.raises(ConfigError):
        apply_input(kernel.machine, given)


def test_a_call_can_be_held_where_it_wants_its_nth_lock(small_kernel: Build) -> None:
    kernel = small_kernel()
    call = kernel.give_alloc(8)
    kernel.knob("run_to_lock", 1)
    assert call.parked and call.wish is kernel.machine.percpu.mutex
    kernel.knob("unpark")
    kernel.knob("run_to_lock", 2)
    assert call.parked and call.wish is kernel.machine.percpu.lock
    assert kernel.machine.percpu.mutex.holder == 0
    kernel.knob("unpark")
    kernel.drain()
    assert call.result


def test_a_call_that_ends_before_is_not_held(small_kernel: Build) -> None:
    kernel = small_kernel()
    call = kernel.give_alloc(8)
    kernel.knob("run_to_lock", 99)
    assert call.done and not call.parked


def test_pages_fail_after_so_many_and_never_with_minus_one(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    kernel.knob("fail_pages", 0)
    assert kernel.alloc(4096) == 0
    kernel.knob("fail_pages", -1)
    assert kernel.alloc(4096)


def test_a_purge_makes_freed_address_space_usable_again(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    ptrs = [kernel.alloc(32768) for _ in range(2)]
    for ptr in ptrs:
        kernel.free(ptr)
    kernel.balance()
    assert kernel.machine.vmalloc.nr_lazy_pages == 32
    kernel.knob("purge_vmap")
    assert kernel.machine.vmalloc.nr_lazy_pages == 0
    kernel.check()
