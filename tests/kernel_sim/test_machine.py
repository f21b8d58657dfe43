"""The machine as a whole: several CPUs under way, checked from first principles at every rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kernel_sim.call import Call
from kernel_sim.check import check_machine
from kernel_sim.errors import KernelBug, KernelFault
from kernel_sim.machine import Machine
from kernel_sim.machine_state import check_cache, dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL

Build = Callable[..., Any]
SIZES = st.sampled_from([4, 8, 12, 64, 100, 500, 2048, 4096, 5000, 12288, 32768])
ALIGNS = st.sampled_from([1, 4, 8, 64, 4096])


class MachineModel(RuleBasedStateMachine):
    """Requests from all CPUs at once against a dict of live areas."""

    build: Build

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Call, int]] = []  # allocations under way, with their sizes
        self.live: dict[int, int] = {}  # size by pointer
        self.kept: list[tuple[dict[str, object], dict[int, int]]] = []

    @initialize(
        backend=st.sampled_from(["vm", "vm", "km"]),
        first_chunk=st.sampled_from(["embed", "page"]),
        nr_cpus=st.sampled_from([2, 4]),
        policy=st.sampled_from(["random", "pct", "round_robin"]),
        seed=st.integers(0, 1000),
        free_hint=st.sampled_from(["faithful", "fixed"]),
        mode=st.sampled_from(["auto", "auto", "scripted"]),
        used_up=st.booleans(),
    )
    def boot(self, used_up: bool, **options: Any) -> None:
        self.kernel = type(self).build(**options)
        self.machine: Machine = self.kernel.machine
        self.nr_cpus = options["nr_cpus"]
        if used_up:
            chunk = self.machine.percpu.chunks[0]
            size = chunk.md.contig_hint * 4
            self.asked.append((self.kernel.give_alloc(size, align=4), size))
        self.rest()

    @rule(
        cpu=st.integers(0, 3),
        size=SIZES,
        align=ALIGNS,
        gfp=st.sampled_from([GFP_KERNEL, GFP_KERNEL, GFP_ATOMIC]),
        reserved=st.sampled_from([False, False, False, True]),
    )
    def alloc(self, cpu: int, size: int, align: int, gfp: int, reserved: bool) -> None:
        call = self.kernel.give_alloc(
            size, cpu=cpu % self.nr_cpus, align=align, gfp=gfp, reserved=reserved
        )
        self.asked.append((call, size))

    @precondition(lambda self: self.live)
    @rule(cpu=st.integers(0, 3), data=st.data(), several=st.booleans())
    def free(self, cpu: int, data: st.DataObject, several: bool) -> None:
        ptrs = list(self.live)
        first = data.draw(st.integers(0, len(ptrs) - 1))
        for ptr in ptrs[first:] if several else ptrs[first : first + 1]:
            del self.live[ptr]
            self.kernel.give(cpu % self.nr_cpus, "free_percpu", ptr)

    @precondition(lambda self: self.live)
    @rule(cpu=st.integers(0, 3), data=st.data())
    def write(self, cpu: int, data: st.DataObject) -> None:
        ptr = data.draw(st.sampled_from(list(self.live)))
        self.kernel.give(cpu % self.nr_cpus, "this_cpu_write", ptr, 0xA5A5A5A5, 4)

    @rule(cpu=st.integers(0, 3))
    def work(self, cpu: int) -> None:
        self.kernel.knob("kworker", cpu=cpu % self.nr_cpus)

    @rule(after=st.sampled_from([-1, -1, 0, 1, 3, 9, 30]))
    def fail_pages(self, after: int) -> None:
        self.kernel.knob("fail_pages", after)

    @rule(nr_steps=st.integers(1, 25), dumped=st.booleans())
    def run_some(self, nr_steps: int, dumped: bool) -> None:
        for _ in range(nr_steps):
            self.machine.run(self.machine.step + 1)
            check_cache(self.machine)
            if dumped:
                dump_parts(self.machine)
        self._collect()

    @rule()
    def rest(self) -> None:
        """Let all calls end; then everything must add up."""
        self.kernel.drain()
        assert self.machine.fault is None
        assert self.machine.is_idle
        self._collect()
        assert not self.asked
        check_machine(self.machine)
        base = self.machine.percpu.base_addr
        ours = {}
        for ptr, size in self.live.items():
            chunk, off = self.machine.percpu.area_at(0, ptr)
            ours[chunk.number, off] = -(-size // 4) * 4
            assert chunk.base_addr + off == ptr + base & (1 << 64) - 1
        assert self.kernel.live_areas() == ours

    @rule()
    def keep(self) -> None:
        """A kept part must be what a fresh dump says."""
        self.rest()
        parts = dump_parts(self.machine)
        assert self.kernel.fresh_parts() == parts
        self.kept.append((parts, dict(self.live)))

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        parts, live = data.draw(st.sampled_from(self.kept))
        load_parts(self.machine, parts)
        self.asked.clear()
        self.live = dict(live)
        assert dump_parts(self.machine) == parts
        assert self.kernel.fresh_parts() == parts
        self.rest()

    def _collect(self) -> None:
        for call, size in tuple(self.asked):
            if call.done:
                self.asked.remove((call, size))
                if call.result:
                    assert call.result not in self.live
                    self.live[call.result] = size

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.rest()


def test_whatever_is_asked_of_whom_the_machine_is_sound_at_every_rest(
    small_kernel: Build,
) -> None:
    model = type("Model", (MachineModel,), {"build": staticmethod(small_kernel)})
    run_state_machine_as_test(
        model, settings=settings(max_examples=100, stateful_step_count=25, deadline=None)
    )


@pytest.mark.parametrize("policy", ["round_robin", "random", "pct"])
def test_the_same_inputs_lead_to_the_same_state_at_every_step(
    small_kernel: Build, policy: str
) -> None:
    seen = []
    for dumped in (True, False):
        kernel = small_kernel(policy=policy, seed=7)
        for cpu in range(4):
            for size in (4096, 64, 9000):
                kernel.give_alloc(size, cpu=cpu)
        states = []
        machine = kernel.machine
        while not machine.is_idle:
            machine.run(machine.step + 1)
            states.append(dump_parts(machine) if dumped else kernel.fresh_parts())
        seen.append(states)
    assert seen[0] == seen[1]


def test_seeds_lead_to_other_orders(small_kernel: Build) -> None:
    orders = []
    for seed in range(6):
        kernel = small_kernel(policy="random", seed=seed)
        for cpu in range(4):
            kernel.give_alloc(64, cpu=cpu)
        kernel.drain()
        orders.append(tuple(row.cpu for row in kernel.machine.take_events()))
    assert len(dict.fromkeys(orders)) > 1


# -- one step, frames, locks ---------------------------------------------------------------------------


def test_the_frames_of_a_call_are_the_kernels_functions_innermost_first(
    small_kernel: Build,
) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    call = kernel.give_alloc(4096, cpu=1)
    assert call.frames() == ("pcpu_alloc",)
    seen: dict[tuple[str, ...], None] = {}
    while not call.done:
        kernel.machine.run(kernel.machine.step + 1)
        seen[call.frames()] = None
    assert ("alloc_pages_node", "pcpu_alloc_pages", "pcpu_populate_chunk", "pcpu_alloc") in seen
    assert ("pcpu_create_chunk", "pcpu_alloc") in seen
    assert ("pcpu_map_pages", "pcpu_populate_chunk", "pcpu_alloc") in seen
    assert call.frames() == ()


def test_every_page_is_a_step(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    call = kernel.give_alloc(8192)
    in_alloc = 0
    while not call.done:
        kernel.machine.run(kernel.machine.step + 1)
        in_alloc += call.frames()[:1] == ("alloc_pages_node",)
    assert in_alloc == 2 * 4


def test_who_wants_a_held_mutex_waits(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    kernel.use_up_ready_space()
    holder = kernel.give_alloc(4096, cpu=0)
    kernel.run_until_in(holder, "pcpu_populate_chunk")
    assert kernel.machine.percpu.mutex.holder == 0
    waiter = kernel.give_alloc(8, cpu=1)
    kernel.machine.run(kernel.machine.step + 3)
    assert waiter.wish is kernel.machine.percpu.mutex
    stood = waiter.nr_resumed
    for _ in range(6):
        assert not kernel.machine.cpus[1].is_runnable()
        kernel.machine.run(kernel.machine.step + 1)
    assert not holder.done and waiter.nr_resumed == stood
    kernel.drain()
    assert holder.result and waiter.result
    kernel.check()


def test_an_atomic_request_does_not_wait_for_the_mutex(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.machine.percpu.mutex.holder = 3
    call = kernel.give_alloc(8, cpu=1, gfp=GFP_ATOMIC)
    kernel.drain()
    assert call.done and call.result


def test_calls_wait_in_line_for_their_cpu(small_kernel: Build) -> None:
    kernel = small_kernel()
    calls = [kernel.give_alloc(8, cpu=2) for _ in range(3)]
    owner = kernel.machine.cpus[2]
    assert (owner.stack, owner.pending) == (calls[:1], calls[1:])
    kernel.drain()
    assert calls[0].result < calls[1].result < calls[2].result


def test_a_call_on_a_parked_one_runs_first_as_an_interrupt_does(small_kernel: Build) -> None:
    kernel = small_kernel()
    below = kernel.give_alloc(8)
    kernel.knob("run_to_lock", 2)
    assert below.parked and not below.done
    above = kernel.give_alloc(8, gfp=GFP_ATOMIC)
    kernel.drain()
    assert above.done and not below.done
    assert kernel.machine.cpus[0].stack == [below]
    kernel.knob("unpark")
    kernel.drain()
    assert below.result not in (0, above.result)
    kernel.check()


def test_a_parked_call_cannot_be_run_to_its_end(
    small_kernel: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = Machine._stuck
    looks = [0]

    def look(machine: Machine) -> bool:
        looks[0] += 1
        assert looks[0] < 100, "run_call() asks for ever"
        return stuck(machine)

    monkeypatch.setattr(Machine, "_stuck", look)
    kernel = small_kernel()
    below = kernel.give_alloc(8)
    kernel.knob("run_to_lock", 1)
    with pytest.raises(KernelBug, match="pcpu_alloc on cpu 0 cannot go on: it is parked"):
        kernel.machine.run_call(below)


def test_a_deadlock_stops_the_machine_and_says_who_waits_for_whom(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.give_alloc(8)
    kernel.knob("run_to_lock", 2)  # holds the mutex, wants the spinlock
    kernel.give_alloc(8)  # on top of it: wants the mutex
    kernel.drain()
    assert kernel.machine.fault is None
    kernel.knob("unpark")
    kernel.drain()
    fault = kernel.machine.fault
    assert fault is not None
    assert fault.reason == (
        "deadlock: cpu 0 in pcpu_alloc waits for pcpu_alloc_mutex, held by cpu 0"
    )
    assert (fault.cpu, fault.frames) == (0, ("pcpu_alloc",))


def test_a_position_shows_a_deadlock_without_going_further(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.give_alloc(8)
    kernel.knob("run_to_lock", 2)
    kernel.give_alloc(8)
    while kernel.machine.run(kernel.machine.step + 1) and kernel.machine.cpus[0].is_runnable():
        assert kernel.machine.fault is None
    kernel.knob("unpark")
    step = kernel.machine.step
    assert kernel.machine.fault is not None
    kernel.drain()
    assert (kernel.machine.step, kernel.machine.fault.step) == (step, step)


def test_a_machine_with_a_fault_takes_no_more_steps(small_kernel: Build) -> None:
    kernel = small_kernel()
    bad = kernel.give(1, "free_percpu", 64)
    other = kernel.give_alloc(8, cpu=2)
    with pytest.raises(KernelFault, match="cpu 1: free of 0x40"):
        kernel.machine.run_call(bad)
    step = kernel.machine.step
    kernel.drain()
    assert (kernel.machine.step, other.done) == (step, False)


def test_a_fault_names_the_way_to_the_innermost_function(small_kernel: Build) -> None:
    """A page is given back behind the kernel's back; the work stumbles over it three calls down."""
    kernel = small_kernel(mode="scripted")
    ptrs = [kernel.alloc(32768), kernel.alloc(32768)]
    for ptr in ptrs:
        kernel.free(ptr)
    machine = kernel.machine
    spare = machine.percpu.slots.lists[machine.percpu.slots.free][1]
    phys = machine.space.translate(spare.base_addr)
    assert phys is not None
    machine.pages.free_pages(phys >> 12, 0)
    kernel.knob("kworker", cpu=2)
    kernel.drain()
    fault = machine.fault
    assert fault is not None and fault.cpu == 2
    assert fault.frames == (
        "pcpu_depopulate_chunk", "pcpu_balance_free", "pcpu_balance_workfn",
    )  # fmt: skip


# -- the work ------------------------------------------------------------------------------------------


def test_in_auto_mode_the_cpu_that_asked_runs_the_work_when_it_is_done(
    small_kernel: Build,
) -> None:
    kernel = small_kernel(mode="auto")
    machine = kernel.machine
    machine.take_events()
    kernel.alloc(machine.percpu.chunks[0].md.contig_hint * 4, align=4, cpu=2)
    rows = [
        (row.cpu, name) for row, name in zip(machine.events, kernel.taken_events(), strict=True)
    ]
    names = [name for _, name in rows]
    assert all(cpu == 2 for cpu, _ in rows)
    queued, began = names.index("workqueue_queue_work"), names.index("workqueue_execute_start")
    assert queued < names.index("percpu_alloc_percpu") < began < names.index("percpu_populate")
    assert machine.work.queued_cpu == -1
    assert machine.percpu.nr_empty_pop_pages == 4
    kernel.check()


def test_in_scripted_mode_work_stays_queued_until_an_input_runs_it(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    machine = kernel.machine
    kernel.alloc(machine.percpu.chunks[0].md.contig_hint * 4, align=4, cpu=2)
    assert (machine.work.queued_cpu, machine.work.nr_requests) == (2, 1)
    assert "workqueue_execute_start" not in kernel.taken_events()
    kernel.balance(cpu=1)
    assert (machine.work.queued_cpu, machine.work.nr_requests) == (-1, 0)
    assert kernel.taken_events()[0] == "workqueue_execute_start"


def test_work_that_is_queued_is_not_queued_again(small_kernel: Build) -> None:
    kernel = small_kernel(mode="scripted")
    machine = kernel.machine
    machine.schedule_work(1, "pcpu_balance_work")
    machine.schedule_work(2, "pcpu_balance_work")
    assert (machine.work.queued_cpu, machine.work.nr_requests) == (1, 2)
    assert kernel.taken_events() == ["workqueue_queue_work"]


def test_a_symbol_that_is_not_there_is_named(small_kernel: Build) -> None:
    with pytest.raises(KernelBug, match="no symbol jiffies in this machine's table of 1"):
        small_kernel().machine.symbol("jiffies")


def test_events_carry_the_step_and_the_cpu_and_are_handed_out_once(small_kernel: Build) -> None:
    kernel = small_kernel()
    kernel.alloc(8, cpu=3)
    (row,) = kernel.machine.take_events()
    assert (row.step, row.cpu) == (kernel.machine.step, 3)
    assert kernel.machine.take_events() == []
