"""A CPU comes up while a module loads while per-CPU memory is allocated: every order is sound.

cpu 0   cpu_up 3 ─────────────►   cpu_down 3
cpu 1   load_module counter ──►   load_module reader
cpu 2   pcpu_alloc, free_percpu, vmalloc, vfree …
"""

from __future__ import annotations

import pytest

from kernel_sim.machine_state import check_cache, dump_parts
from kernel_sim.modules.module import LIVE
from tests.kernel_sim.whole_machines import Whole

SCRIPT = "init: counters = pcpu_alloc 20000 8\nexit: free_percpu counters"
GFP_KERNEL = 0xCC0
STEPS_MAX = 100_000
SEEDS = [
    ("round_robin", 1),
    *(("random", seed) for seed in range(5)),
    *(("pct", seed) for seed in range(5)),
]


def begin(kind: str, policy: str, seed: int) -> Whole:
    """Return a machine in the midst of everything."""
    whole = Whole(kind, policy=policy, seed=seed)
    assert whole.call("cpu_down", 3) == 0
    whole.use_up_ready_space()
    whole.give(0, "cpu_up", 3)
    whole.give(0, "vmalloc", 30000)
    whole.give(1, "load_module", whole.image("counter"), "counter", SCRIPT)
    whole.give(1, "load_module", whole.image("reader"), "reader", "")
    for size in (9000, 64, 30000):
        whole.give(2, "pcpu_alloc", size, 8, False, GFP_KERNEL, "f")
    whole.give(2, "flush_tlb_all")
    return whole


@pytest.mark.parametrize("kind", ["x86-64", "x86-64-5", "i386-pae"])
@pytest.mark.parametrize(("policy", "seed"), SEEDS)
def test_all_calls_end_and_all_adds_up(kind: str, policy: str, seed: int) -> None:
    whole = begin(kind, policy, seed)
    machine = whole.machine
    while not machine.is_idle:
        assert machine.step < STEPS_MAX
        machine.run(machine.step + 1)
        assert machine.fault is None, machine.fault
    check_cache(machine)
    whole.check()
    assert machine.online_cpus() == (0, 1, 2, 3)
    assert [(module.name, module.state) for module in machine.modules.modules] == [
        ("reader", LIVE), ("counter", LIVE),
    ]  # fmt: skip
    areas = sum(chunk.nr_alloc for chunk in machine.percpu.chunks.values())
    assert areas == machine.percpu.statistics.nr_cur_alloc


@pytest.mark.parametrize(("policy", "seed"), SEEDS[:4])
def test_it_goes_down_again_while_the_module_leaves(policy: str, seed: int) -> None:
    whole = begin("x86-64", policy, seed)
    whole.drain()
    last = whole.give(3, "pcpu_alloc", 64, 8, False, GFP_KERNEL, "f")
    waiting = whole.give(3, "vmalloc", 5000)
    down = whole.give(0, "cpu_down", 3)
    gone = [whole.give(1, "delete_module", name) for name in ("reader", "counter")]
    whole.drain()
    assert whole.machine.fault is None
    assert (down.result, [call.result for call in gone]) == (0, [0, 0])
    assert last.result and waiting.result
    assert whole.machine.online_cpus() == (0, 1, 2)
    whole.check()


@pytest.mark.parametrize(("policy", "seed"), SEEDS[::4])
def test_the_state_at_every_step_is_the_same_in_a_second_run(policy: str, seed: int) -> None:
    runs = [begin("x86-64", policy, seed) for _ in range(2)]
    first, second = (run.machine for run in runs)
    while not first.is_idle:
        first.run(first.step + 7)
        second.run(first.step)
        assert dump_parts(first) == dump_parts(second)
    assert second.is_idle


def test_orders_differ_by_seed() -> None:
    orders = []
    for _, seed in SEEDS[1:5]:
        whole = begin("x86-64", "random", seed)
        whole.machine.take_events()
        whole.drain()
        orders.append(tuple(row.cpu for row in whole.machine.take_events()))
    assert len(dict.fromkeys(orders)) > 1
