"""However a position is reached, it is the same: in slices or in one go, straight or by way of the past.

plan      inputs of all kinds, each at a step ──► a straight run gives a digest at every rest
again     run in slices of one step           ──► the same digests
again     at rests: put into bytes and into a fresh machine, loaded over itself, gone on and back
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_NOWARN, GFP_THISNODE
from snapshots.state_codec import decode_part, encode_part, state_digest
from tests.kernel_sim.whole_machines import KINDS, Whole, whole_config

GFPS = [GFP_KERNEL, GFP_ATOMIC, GFP_KERNEL | GFP_THISNODE | GFP_NOWARN]
SCRIPT = "init: a = pcpu_alloc 400 8\nexit: free_percpu a"
FAULTS = ["", "nth=3", "probability=30 interval=2 times=4 space=6", "nth=1 caller=vmalloc"]
FREE = {"pcpu_alloc": "free_percpu", "vmalloc": "vfree", "kmalloc_node": "kfree"}
Rest = tuple[int, int, str]
"""A step without calls under way, how many inputs were given until then, and the digest there."""


class Plan:
    """A straight run, made up as it goes."""

    def __init__(self, seed: int, nr_inputs: int) -> None:
        self.chance = chance = random.Random(seed)  # the test's own, not the machine's
        kind = chance.choice(list(KINDS))
        self.options: dict[str, Any] = {
            "kind": kind,
            "policy": chance.choice(["random", "pct", "round_robin"]),
            "seed": seed,
            "nr_online": chance.choice([4, 3, 2]),
            "memory_mib": chance.choice([3, 8]) if kind.startswith("x86-64") else 8,
        }
        self.whole = Whole(**self.options)
        self.asked: list[tuple[Any, str, int]] = []
        self.live: list[tuple[str, int, int]] = []
        self.rests: list[Rest] = []
        for _ in range(nr_inputs):
            self.one_more()
        self.whole.drain()
        self.end: Rest = self.here()

    def here(self) -> Rest:
        machine = self.whole.machine
        return machine.step, len(self.whole.inputs), state_digest(machine)

    def one_more(self) -> None:
        machine, chance = self.whole.machine, self.chance
        name, *args = self.next_input()
        try:
            call = self.whole.input(name, *args, cpu=chance.randrange(4))
        except ConfigError:  # a CPU that is offline or on its way
            return
        if name in (*FREE, "alloc_pages"):
            self.asked.append((call, name, args[0]))
        machine.run(machine.step + chance.choice([0, 0, 3, 30, 300]))
        for asked in tuple(self.asked):
            call, name, size = asked
            if call.done:
                self.asked.remove(asked)
                if call.result not in (0, -1):
                    self.live.append((name, call.result, size))
        assert machine.fault is None, machine.fault
        if machine.is_idle:
            self.rests.append(self.here())

    def next_input(self) -> tuple[Any, ...]:
        chance, gfp = self.chance, self.chance.choice(GFPS)
        if self.live and chance.random() < 0.25:
            name, at, size = self.live.pop(chance.randrange(len(self.live)))
            return ("free_pages", at, size) if name == "alloc_pages" else (FREE[name], at)
        module = chance.choice(["counter", "reader", "plain"])
        other, node = chance.randrange(1, 4), chance.randrange(-1, 2)
        return chance.choice(
            [
                ("pcpu_alloc", chance.choice([4, 500, 12288]), 8, False, GFP_KERNEL, "f+0x1"),
                ("vmalloc", chance.choice([1, 20000, 150000])),
                ("kmalloc_node", chance.choice([96, 1000, 30000]), gfp, node),
                ("alloc_pages", chance.choice([0, 0, 3]), gfp, node),
                ("load_module", self.whole.image(module), module, SCRIPT),
                ("delete_module", module),
                (chance.choice(["cpu_up", "cpu_down"]), other),
                (chance.choice(["flush_tlb_all", "drain_all_pages", "kworker", "purge_vmap"]),),
                ("fail_page_alloc", chance.choice(FAULTS)),
                ("cpuhp_fail", other, chance.choice([1, 36, 145, 180, 234])),
            ]
        )


def go(machine: Machine, inputs: list[Input], step: int, slice_steps: int = 1 << 60) -> None:
    """Give inputs, each at its step, and go on to a step."""
    for goal, one in [*((one.step, one) for one in inputs), (step, None)]:
        before = -1
        while machine.step < goal and machine.step != before:
            before = machine.step
            machine.run(min(goal, before + slice_steps))
        if one is not None:
            apply_input(machine, one)


def run_in_slices(plan: Plan, slice_steps: int) -> None:
    machine, done = boot(whole_config(**plan.options)), 0
    for step, nr_inputs, digest in [*plan.rests, plan.end]:
        go(machine, plan.whole.inputs[done:nr_inputs], step, slice_steps)
        done = nr_inputs
        assert state_digest(machine) == digest, f"at step {step}"


def run_with_detours(plan: Plan) -> None:
    machine, done, inputs = boot(whole_config(**plan.options)), 0, plan.whole.inputs
    kept: list[tuple[int, dict[str, object]]] = []
    for number, (step, nr_inputs, digest) in enumerate([*plan.rests, plan.end]):
        go(machine, inputs[done:nr_inputs], step)
        done = nr_inputs
        assert state_digest(machine) == digest, f"at step {step}"
        parts = dump_parts(machine)
        kept.append((nr_inputs, parts))
        way = plan.chance.randrange(6)
        if way == 0:
            machine = boot(whole_config(**plan.options))
            load_parts(machine, {name: decode_part(encode_part(parts[name])) for name in parts})
            check_machine(machine)
        elif way == 1 and number < len(plan.rests) - 1:
            later_step, later_done, _ = plan.rests[min(number + 5, len(plan.rests) - 1)]
            go(machine, inputs[done:later_done], later_step)
            load_parts(machine, parts)
        elif way == 2:
            from_done, from_parts = plan.chance.choice(kept)
            load_parts(machine, from_parts)
            go(machine, inputs[from_done:nr_inputs], step)
        assert state_digest(machine) == digest, f"at step {step}, by way {way}"


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 20), slice_steps=st.sampled_from([1, 1, 7]))
def test_who_runs_next_does_not_depend_on_how_far_one_runs_at_a_time(
    seed: int, slice_steps: int
) -> None:
    run_in_slices(Plan(seed, 40), slice_steps)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 20))
def test_a_run_with_detours_through_the_past_ends_like_the_straight_one(seed: int) -> None:
    run_with_detours(Plan(seed, 40))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 20))
def test_long_runs_end_alike_on_every_way(seed: int) -> None:
    plan = Plan(seed, 120)
    run_in_slices(plan, 1)
    run_with_detours(plan)


def test_a_cpu_that_wakes_others_does_not_run_on_alone() -> None:
    """Whether it is stopped in between or not."""
    digests = []
    for slice_steps in (1, 1 << 60):
        whole = Whole(policy="random", seed=3)
        whole.call("vmalloc", 20000)
        whole.give(1, "flush_tlb_all")
        go(whole.machine, [], whole.machine.step + 6, slice_steps)
        digests.append(state_digest(whole.machine))
    assert digests[0] == digests[1]


def test_a_plain_machine_that_went_back_is_told_to_fail_like_one_that_did_not() -> None:
    straight, back = Whole("x86-64-plain"), Whole("x86-64-plain")
    parts = dump_parts(back.machine)
    back.alloc(9000)
    load_parts(back.machine, parts)
    for whole in (straight, back):
        whole.knob("fail_page_alloc", "nth=3")
    assert dump_parts(back.machine) == dump_parts(straight.machine)
