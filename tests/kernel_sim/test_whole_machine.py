"""Everything at once: pages, slabs, areas, modules, per-CPU memory and CPUs that come and go.

    rules give calls to CPUs ─► some steps, or a rest ─► at a rest all must add up, byte for byte

What was written must be read back by every CPU, through its TLB. All inputs of a run, given again to a fresh
machine, must lead to the same state.
"""

from __future__ import annotations

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

from kernel_sim.boot import boot
from kernel_sim.call import Call
from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.hotplug.states import CPUHP_ONLINE
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import check_cache, dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, GFP_ZERO
from snapshots.state_codec import state_digest
from tests.kernel_sim.whole_machines import KINDS, Whole, whole_config

NR_CPUS = 4
VALUE_BYTES = 4
CPUS = st.integers(0, NR_CPUS - 1)
NODES = st.integers(-1, 1)
GFPS = st.sampled_from([GFP_KERNEL, GFP_KERNEL | GFP_ZERO, GFP_ATOMIC])
SCRIPT = "init: a = pcpu_alloc 400 8\ninit: b = pcpu_alloc 9000 64\nexit: free_percpu a\nexit: free_percpu b"
FREE = {"percpu": "free_percpu", "vmalloc": "vfree", "kmalloc": "kfree"}


class WholeMachine(RuleBasedStateMachine):
    """Requests from all CPUs against dicts of what is live and what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Call, Any]] = []
        self.live: dict[tuple[str, int], int] = {}  # (kind, address): size
        self.values: dict[tuple[str, int], dict[tuple[int, int], int]] = {}  # by (CPU, offset)
        self.kept: list[tuple[dict[str, object], dict[Any, int], dict[Any, Any]]] = []
        self.was_loaded = False

    @initialize(
        kind=st.sampled_from(list(KINDS)),
        policy=st.sampled_from(["random", "pct", "round_robin"]),
        seed=st.integers(0, 1000),
        nr_online=st.sampled_from([4, 4, 3, 2]),
        kmem=st.booleans(),
    )
    def boot(self, **options: Any) -> None:
        kmem = options.pop("kmem")
        self.options = options | {"trace": {"kmem": kmem}}
        self.whole = Whole(**self.options)
        self.machine: Machine = self.whole.machine

    # -- asking ----------------------------------------------------------------------------------------

    def give(self, cpu: int, name: str, *args: Any, note: Any = None) -> None:
        """Give a call to a CPU, or to the boot CPU where that one does not run."""
        cpu = cpu if self.takes_calls(cpu) else 0
        self.asked.append((self.whole.give(cpu, name, *args), note))

    def takes_calls(self, cpu: int) -> bool:
        """Say whether a CPU neither comes nor goes; what it is asked is refused then."""
        owner = self.machine.cpus[cpu]
        if owner.online and owner.hotplug_state == CPUHP_ONLINE:
            return True
        if owner.hotplug_state or cpu < self.options["nr_online"] or self.machine.tlbs:
            with pytest.raises(ConfigError, match=f"CPU {cpu} is "):
                apply_input(self.machine, Input(self.machine.step, "drain_all_pages", cpu))
        return False

    @rule(cpu=CPUS, size=st.sampled_from([4, 64, 500, 4096, 12288, 32768]), gfp=GFPS)
    def pcpu_alloc(self, cpu: int, size: int, gfp: int) -> None:
        self.give(cpu, "pcpu_alloc", size, 8, False, gfp, "f+0x1", note=("percpu", size))

    @rule(cpu=CPUS, size=st.sampled_from([1, 4096, 20000, 150000]))
    def vmalloc(self, cpu: int, size: int) -> None:
        self.give(cpu, "vmalloc", size, note=("vmalloc", size))

    @rule(cpu=CPUS, size=st.sampled_from([4, 96, 1000, 4096, 30000]), gfp=GFPS, node=NODES)
    def kmalloc_node(self, cpu: int, size: int, gfp: int, node: int) -> None:
        self.give(cpu, "kmalloc_node", size, gfp, node, note=("kmalloc", size))

    @rule(cpu=CPUS, order=st.integers(0, 4), gfp=GFPS, node=NODES)
    def alloc_pages(self, cpu: int, order: int, gfp: int, node: int) -> None:
        self.give(cpu, "alloc_pages", order, gfp, node, note=("pages", order))

    @precondition(lambda self: self.live)
    @rule(cpu=CPUS, data=st.data())
    def free(self, cpu: int, data: st.DataObject) -> None:
        kind, at = key = data.draw(st.sampled_from(list(self.live)))
        size = self.live.pop(key)
        self.values.pop(key, None)
        if kind == "pages":
            self.give(cpu, "free_pages", at, size)
        else:
            self.give(cpu, FREE[kind], at)

    @rule(cpu=CPUS, name=st.sampled_from(["counter", "reader", "plain", "common"]))
    def load_module(self, cpu: int, name: str) -> None:
        script = SCRIPT if name == "counter" else ""
        self.give(cpu, "load_module", self.whole.image(name), name, script)

    @rule(cpu=CPUS, name=st.sampled_from(["counter", "reader", "plain"]))
    def delete_module(self, cpu: int, name: str) -> None:
        self.give(cpu, "delete_module", name)

    @rule(cpu=CPUS, other=st.integers(0, NR_CPUS), up=st.booleans())
    def hotplug(self, cpu: int, other: int, up: bool) -> None:
        cpu = cpu if self.machine.cpus[cpu].online else 0
        self.give(cpu, "cpu_up" if up else "cpu_down", other)

    @rule(cpu=CPUS, name=st.sampled_from(["flush_tlb_all", "drain_all_pages"]))
    def flush_or_drain(self, cpu: int, name: str) -> None:
        self.give(cpu, name)

    @rule(after=st.sampled_from([-1, -1, 0, 2, 9, 30]))
    def fail_pages(self, after: int) -> None:
        self.whole.knob("fail_pages", after)

    @rule(cpu=st.integers(1, NR_CPUS - 1), number=st.sampled_from([1, 11, 36, 86, 147, 180, 234]))
    def fail_hotplug(self, cpu: int, number: int) -> None:
        self.whole.knob("cpuhp_fail", cpu, number)

    @rule()
    def purge(self) -> None:
        self.whole.knob("purge_vmap")

    @rule(cpu=CPUS)
    def work(self, cpu: int) -> None:
        if self.takes_calls(cpu):
            self.whole.input("kworker", cpu=cpu)

    # -- memory, at rest ---------------------------------------------------------------------------------

    def place(self, key: tuple[str, int], cpu: int, offset: int) -> int:
        """Return the address of a byte; of a per-CPU area, in that CPU's copy."""
        kind, at = key
        return (
            self.machine.per_cpu_offset(cpu) + at + offset & self.machine.arch.address_mask
            if (kind == "percpu")
            else at + offset
        )

    @precondition(lambda self: any(kind != "pages" for kind, _ in self.live))
    @rule(cpu=CPUS, data=st.data(), value=st.integers(1, (1 << 32) - 1), own=st.booleans())
    def write(self, cpu: int, data: st.DataObject, value: int, own: bool) -> None:
        self.rest()
        keys = [key for key in self.live if key[0] != "pages"]
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if self.live[key] < VALUE_BYTES:
            return
        offset = data.draw(st.integers(0, self.live[key] // VALUE_BYTES - 1)) * VALUE_BYTES
        cpu = cpu if self.machine.cpus[cpu].online else 0
        owner = cpu if key[0] == "percpu" else 0
        if key[0] == "percpu" and own:
            self.whole.call("this_cpu_write", key[1] + offset, value, VALUE_BYTES, cpu=cpu)
        else:
            addr = self.place(key, owner, offset)
            self.whole.call("write", addr, value, VALUE_BYTES, cpu=cpu)
        self.values.setdefault(key, {})[owner, offset] = value

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def read_everywhere(self, data: st.DataObject) -> None:
        """Every CPU sees what was written, and nothing of what others wrote to their copies."""
        self.rest()
        keys = [key for key in self.live if key[0] != "pages"]
        for key in keys[:3]:
            written = self.values.get(key, {})
            offsets = list(dict.fromkeys(offset for _, offset in written))[:3] or [0]
            for cpu in self.machine.online_cpus():
                for offset in offsets:
                    for owner in range(NR_CPUS) if key[0] == "percpu" else (0,):
                        addr = self.place(key, owner, offset)
                        got = self.whole.call("read", addr, VALUE_BYTES, cpu=cpu)
                        expected = written.get((owner, offset))
                        if expected is None and key[0] == "percpu":
                            expected = 0
                        assert expected is None or got == expected, (key, cpu, owner, offset)

    # -- going on ----------------------------------------------------------------------------------------

    @rule(nr_steps=st.integers(1, 40), dumped=st.booleans())
    def run_some(self, nr_steps: int, dumped: bool) -> None:
        self.machine.run(self.machine.step + nr_steps)
        check_cache(self.machine)
        if dumped:
            dump_parts(self.machine)
        self._collect()

    @rule()
    def rest(self) -> None:
        """Let all calls end; then everything must add up."""
        self.whole.drain()
        assert self.machine.fault is None, self.machine.fault
        assert self.machine.is_idle
        self._collect()
        assert not self.asked
        check_machine(self.machine)
        assert self.machine.held_pages == {
            at: order for (kind, at), order in self.live.items() if kind == "pages"
        }

    @rule()
    def keep(self) -> None:
        self.rest()
        parts = dump_parts(self.machine)
        assert self.whole.fresh_parts() == parts
        values = {key: dict(written) for key, written in self.values.items()}
        self.kept.append((parts, dict(self.live), values))

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        parts, live, values = data.draw(st.sampled_from(self.kept))
        load_parts(self.machine, parts)
        self.asked.clear()
        self.live = dict(live)
        self.values = {key: dict(written) for key, written in values.items()}
        assert dump_parts(self.machine) == parts
        assert self.whole.fresh_parts() == parts
        self.whole.inputs.clear()
        self.was_loaded = True
        self.rest()

    def _collect(self) -> None:
        for asked in tuple(self.asked):
            call, note = asked
            if call.done:
                self.asked.remove(asked)
                if note and call.result != (-1 if note[0] == "pages" else 0):
                    key = (note[0], call.result)
                    assert key not in self.live
                    self.live[key] = note[1]

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.rest()
            if not self.was_loaded:
                assert state_digest(
                    repeated(self.options, self.whole.inputs, self.machine.step)
                ) == (state_digest(self.machine))


def repeated(options: dict[str, Any], inputs: list[Input], end_step: int) -> Machine:
    """Give the same inputs at the same steps to a machine that was never looked at."""
    machine = boot(whole_config(**options))
    for given in inputs:
        machine.run(given.step)
        apply_input(machine, given)
    machine.run(end_step)
    return machine


def test_whatever_is_asked_of_the_whole_machine_it_stays_sound() -> None:
    run_state_machine_as_test(
        WholeMachine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )


@pytest.mark.slow
def test_a_long_campaign_of_the_same() -> None:
    run_state_machine_as_test(
        WholeMachine, settings=settings(max_examples=300, stateful_step_count=60, deadline=None)
    )
