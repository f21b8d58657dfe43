"""Every operation with its n-th page allocation failing, n = 0, 1, 2 … until it needs no more.

    fail page n ─► the call says so ─► the machine is sound, and all is as before ─► again, and it works

Pages of page tables fail too. Those that an operation got before it failed stay, as in the kernel, for the
next mapping there; so do pages that a chunk was given, under space that is free again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from kernel_sim.machine_state import dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_KERNEL
from tests.kernel_sim.whole_machines import KINDS, Whole

ENOMEM = -12
NTH_MAX = 400
LOOSE_SCRIPT = "init: counters = pcpu_alloc 20000 8\nexit: free_percpu counters"


class Operation(NamedTuple):
    """What is asked, what says that it failed, and the way back."""

    prepare: Callable[[Whole], object]
    do: Callable[[Whole], Any]
    failed: int
    undo: Callable[[Whole, Any], object]
    least_failures: int


def fill(whole: Whole) -> None:
    whole.use_up_ready_space()
    whole.drain()


def fill_and_start_a_chunk(whole: Whole) -> None:
    """Leave a chunk with room and no pages behind."""
    fill(whole)
    whole.alloc(64, align=4)


def load_counter(whole: Whole) -> int:
    return whole.load("counter", LOOSE_SCRIPT)


def free(whole: Whole, ptr: int) -> None:
    whole.call("free_percpu", ptr)


OPERATIONS = {
    "chunk": Operation(fill, lambda w: w.alloc(9000), 0, free, 4 * 3),
    "populate": Operation(fill_and_start_a_chunk, lambda w: w.alloc(20000), 0, free, 4 * 2),
    "module": Operation(fill, load_counter, ENOMEM, lambda w, _: w.call("delete_module", "counter"), 6),
    "cpu up": Operation(
        lambda w: w.call("cpu_down", 3), lambda w: w.call("cpu_up", 3), ENOMEM,
        lambda w, _: w.call("cpu_down", 3), 1,
    ),
    "vmalloc": Operation(
        lambda w: None, lambda w: w.call("vmalloc", 40000), 0, lambda w, addr: w.call("vfree", addr), 10
    ),
    "kmalloc": Operation(
        lambda w: None, lambda w: w.call("kmalloc_node", 8192, GFP_KERNEL, 1), 0,
        lambda w, addr: w.call("kfree", addr), 1,
    ),
    "large kmalloc": Operation(
        lambda w: None, lambda w: w.call("kmalloc_node", 65536, GFP_KERNEL, 1), 0,
        lambda w, addr: w.call("kfree", addr), 1,
    ),
    "pages": Operation(
        lambda w: None, lambda w: w.call("alloc_pages", 3, GFP_KERNEL, 0), -1,
        lambda w, pfn: w.call("free_pages", pfn, 3), 1,
    ),
}  # fmt: skip


USUAL_CASES = (("x86-64", True), ("x86-64-2.6.20", False), ("i386-pae", True))
CASES = [
    pytest.param(
        kind, once, marks=() if (kind, once) in USUAL_CASES else pytest.mark.slow,
        id=f"{kind}-{'once' if once else 'from-then-on'}",
    )
    for kind in KINDS
    if kind != "x86-64-plain"  # where tables never fail
    for once in (True, False)
]  # fmt: skip


def check_conserved(whole: Whole) -> None:
    """Per zone: what is free, on lists and allocated or reserved makes up the zone."""
    for zone in whole.machine.pages.zones:
        free_pages = sum(end - start for start, end in zone.buddy.free_ranges())
        assert free_pages == zone.buddy.nr_free_pages
        allocated = sum(1 << order for _, order in zone.allocated_blocks())
        reserved = sum(
            zone.owner_state_of(pfn) == "reserved"
            for start, end in zone.buddy.memory
            for pfn in range(start, end)
        )
        total = sum(end - start for start, end in zone.buddy.memory)
        assert free_pages + zone.nr_list_pages + allocated + reserved == total


def fails_at(whole: Whole, operation: Operation, nth: int, *, once: bool) -> bool:
    """Let the n-th request fail, check everything, and do it again; False if none had to fail."""
    before = whole.account()
    if once:
        whole.knob("fail_page_alloc", f"nth={nth}")
    else:
        whole.knob("fail_pages", nth)
    result = operation.do(whole)
    fault = whole.machine.pages.fault
    got_through = fault is not None and fault.nth_left >= 0 if once else result != operation.failed
    whole.knob("fail_page_alloc", "")
    whole.knob("fail_pages", -1)
    assert whole.machine.fault is None
    whole.check()
    if result == operation.failed:
        check_conserved(whole)
        assert whole.account() == before
        result = operation.do(whole)
    assert result != operation.failed
    whole.check()
    operation.undo(whole, result)
    whole.check()
    return not got_through


@pytest.mark.parametrize("name", list(OPERATIONS))
@pytest.mark.parametrize(("kind", "once"), CASES)
def test_the_nth_page_that_fails_leaves_everything_as_it_was(
    name: str, kind: str, once: bool
) -> None:
    """One failure, or all from the n-th on: either way nothing is lost."""
    operation = OPERATIONS[name]
    whole = Whole(kind, work={"mode": "scripted"})
    operation.prepare(whole)
    whole.check()
    start = dump_parts(whole.machine)
    for nth in range(NTH_MAX):
        load_parts(whole.machine, start)
        if not fails_at(whole, operation, nth, once=once):
            break
    assert operation.least_failures <= nth < NTH_MAX
