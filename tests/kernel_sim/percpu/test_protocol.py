"""All per-CPU systems through the one protocol, against one model.

The model is a dict of live areas with what was last written to each copy. After every step: the machine's
own check, every copy where the model says and with the bytes it says, copies of all areas apart from each
other, aligned, on the node that was promised.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.catalogue import ENTRIES
from kernel_sim.percpu.protocol import MODALLOC_SAID
from kernel_sim.percpu.stretch import DYNAMIC, HOLE, MODULE
from kernel_sim.primitives import Wish
from tests.kernel_sim.percpu.catalogue_machines import booted

ONE_GIB = 1 << 30
NR_CPUS = 4
SYSTEMS = [(entry.name, arch) for entry in ENTRIES for arch in entry.arches]
ALIGNS = (1, 4, 8, 16, 64)


def machine_of(name: str, arch: str, *, nr_nodes: int = 2, **options: object) -> Machine:
    """Return a machine with two CPUs a node; km's one group is two CPUs without nodes."""
    per_node = NR_CPUS // nr_nodes
    size = (256 << 20) // nr_nodes
    nodes = [
        {
            "cpus": f"{n * per_node}-{(n + 1) * per_node - 1}",
            "memory": [f"{n * size:#x}-{(n + 1) * size - 1:#x}"],
        }
        for n in range(nr_nodes)
    ]
    percpu: dict[str, object] = {"system": name, "static_bytes": 17892}
    if options:
        percpu["options"] = options
    return boot(
        MachineConfig.from_mapping(
            {
                "name": f"{name} on {arch}",
                "kernel": {"arch": arch, "nr_cpus": 8},
                "cpus": {"possible": f"0-{NR_CPUS - 1}"},
                "node": nodes,
                "percpu": percpu,
                "work": {"mode": "scripted"},
            },
            where="test",
        )
    )


def nodes_for(name: str) -> int:
    """percpu-km serves one group, so its machine has one node."""
    return 1 if name.startswith("percpu-km") else 2


@dataclass(slots=True)
class Area:
    size: int
    align: int
    is_module: bool
    bytes_of: dict[int, bytes] = field(default_factory=dict)


class SystemRun(RuleBasedStateMachine):
    """Whatever one may ask of a system, in any order; a subclass names the system."""

    name = ""
    arch = ""

    def __init__(self) -> None:
        super().__init__()
        self.machine = self.boot_machine()
        self.areas: dict[int, Area] = {}

    def boot_machine(self) -> Machine:
        """Return the machine that is driven; tests of one system's switches have others."""
        return machine_of(self.name, self.arch, nr_nodes=nodes_for(self.name))

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        return self.machine.run_call(self.machine.give(cpu, name, args))

    def go(self, path: Coroutine[Wish, None, Any]) -> Any:
        """Let CPU 0 take a path that is no call of its own; the others answer when it asks them to flush."""
        self.machine.call_table["path"] = lambda cpu: path
        return self.call("path")

    @rule(size=st.integers(1, 3000), align=st.sampled_from(ALIGNS), cpu=st.integers(0, 3))
    def alloc(self, size: int, align: int, cpu: int) -> None:
        ptr = self.call("pcpu_alloc", size, align, False, GFP_KERNEL, "test", cpu=cpu)
        if not ptr:
            return
        assert ptr not in self.areas
        self.areas[ptr] = area = Area(size, align, False)
        for owner in self.owners(ptr):
            found = self.read(ptr, owner, size)
            if self.machine.system.zeroes:
                assert not any(found), f"cpu {owner} of {ptr:#x} is not zero"
            area.bytes_of[owner] = found

    @rule(size=st.integers(1, 600), align=st.sampled_from(ALIGNS), image=st.binary(min_size=1))
    def load_section(self, size: int, align: int, image: bytes) -> None:
        """A module's section comes as the loader brings it: room, image shown, copied."""
        system = self.machine.system
        path = system.modalloc(0, "module", size, min(align, system.module_align_max), 2, "test")
        ptr = self.go(path)
        if ptr in (0, MODALLOC_SAID):
            return
        image = (image * size)[:size]
        if not system.take_image(0, ptr, image):
            self.go(system.modfree(0, ptr))
            return
        self.areas[ptr] = area = Area(size, min(align, system.module_align_max), True)
        for owner in self.owners(ptr):
            self.write(ptr, owner, image)
            area.bytes_of[owner] = image

    @precondition(lambda self: self.areas)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        ptr = data.draw(st.sampled_from(sorted(self.areas)))
        area = self.areas.pop(ptr)
        if area.is_module:
            self.go(self.machine.system.modfree(0, ptr))
        else:
            self.call("free_percpu", ptr, cpu=data.draw(st.integers(0, 3)))
        assert not self.machine.system.holds(ptr)

    @precondition(lambda self: self.areas)
    @rule(data=st.data(), cpu=st.integers(0, 3), value=st.integers(1, 255))
    def write_own_copy(self, data: st.DataObject, cpu: int, value: int) -> None:
        """A CPU writes through its own access path; only its copy changes."""
        ptr = data.draw(st.sampled_from(sorted(self.areas)))
        self.call("this_cpu_write", ptr, value, 1, cpu=cpu)
        area = self.areas[ptr]
        area.bytes_of[cpu] = bytes([value]) + area.bytes_of[cpu][1:]

    @precondition(lambda self: self.areas)
    @rule(data=st.data(), cpu=st.integers(0, 3), owner=st.integers(0, 3))
    def look_at_another(self, data: st.DataObject, cpu: int, owner: int) -> None:
        ptr = data.draw(st.sampled_from(sorted(self.areas)))
        assert self.call("per_cpu", ptr, owner, 1, cpu=cpu) == self.areas[ptr].bytes_of[owner][0]
        assert self.call("per_cpu_ptr", ptr, owner, cpu=cpu) == self.copy(ptr, owner)

    @precondition(lambda self: self.machine.system.work_function)
    @rule(cpu=st.integers(0, 3))
    def work(self, cpu: int) -> None:
        self.machine.run_call(self.machine.start_work(cpu))

    @rule(cpu=st.integers(1, 3))
    def unplug_and_plug(self, cpu: int) -> None:
        """A CPU goes and comes back; its copies are where and what they were."""
        assert self.call("cpu_down", cpu) == 0
        assert self.call("cpu_up", cpu) == 0

    @rule()
    def save_and_load(self) -> None:
        """A second machine takes the state over and has the very same."""
        parts = dump_parts(self.machine)
        other = self.boot_machine()
        load_parts(other, parts)
        again = dump_parts(other)
        assert {k: v for k, v in again.items() if k != "calls"} == {
            k: v for k, v in parts.items() if k != "calls"
        }
        check_machine(other)
        self.machine = other

    @invariant()
    def everything_holds(self) -> None:
        check_machine(self.machine)
        spans: list[tuple[int, int]] = []
        for ptr, area in self.areas.items():
            assert self.machine.system.holds(ptr)
            for owner in self.owners(ptr):
                addr = self.copy(ptr, owner)
                if area.is_module or self.machine.system.keeps_alignment:
                    assert addr % area.align == 0, f"{ptr:#x} of cpu {owner} at {addr:#x}"
                assert self.read(ptr, owner, area.size) == area.bytes_of[owner]
                spans.append((addr, addr + area.size))
        spans.sort()
        for (_, end), (start, _) in pairwise(spans):
            assert end <= start, f"two copies share {start:#x}"
        self.stretches_agree()

    def stretches_agree(self) -> None:
        """What is drawn is what is there: each live copy a stretch, on its node, none beside."""
        drawn: dict[int, dict[int, Any]] = {}
        end_of_strip: dict[str, int] = {}
        for stretch in self.machine.system.stretches():
            assert stretch.addr == end_of_strip.get(stretch.strip, stretch.addr), stretch
            end_of_strip[stretch.strip] = stretch.end
            if stretch.kind in (DYNAMIC, MODULE) and stretch.ptr:
                drawn.setdefault(stretch.ptr, {})[stretch.cpu] = stretch
            if stretch.kind != HOLE:
                phys = self.machine.space.translate(stretch.addr)
                assert phys is not None, stretch
                node = self.machine.pages.node_of_pfn(phys >> 12)
                assert stretch.node in (-1, node), stretch
        assert sorted(drawn) == sorted(self.areas)
        for ptr, area in self.areas.items():
            for owner in self.owners(ptr):
                stretch = drawn[ptr][owner]
                assert stretch.addr == self.copy(ptr, owner)
                assert stretch.size_bytes >= area.size

    def teardown(self) -> None:
        """Freeing all leaves nothing that anybody asked for."""
        for ptr in sorted(self.areas):
            if self.areas[ptr].is_module:
                self.go(self.machine.system.modfree(0, ptr))
            else:
                self.call("free_percpu", ptr)
        if self.machine.system.work_function:
            self.machine.run_call(self.machine.start_work(0))
        assert not list(self.machine.system.live_areas())
        left = [s for s in self.machine.system.stretches() if s.kind in (DYNAMIC, MODULE)]
        assert not left
        check_machine(self.machine)

    def owners(self, ptr: int) -> list[int]:
        found = [c for c in range(NR_CPUS) if self.machine.system.copy_addr(ptr, c) is not None]
        assert found == list(range(NR_CPUS))
        return found

    def copy(self, ptr: int, owner: int) -> int:
        addr = self.machine.system.copy_addr(ptr, owner)
        assert addr is not None
        return addr

    def read(self, ptr: int, owner: int, size: int) -> bytes:
        return self.machine.access.read(owner, self.copy(ptr, owner), size)

    def write(self, ptr: int, owner: int, data: bytes) -> None:
        addr = self.copy(ptr, owner)
        self.machine.access.write(owner, addr, data)
        self.machine.system.note_written(owner, addr)


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_every_system_keeps_the_protocol(name: str, arch: str) -> None:
    run = type(f"Run of {name} on {arch}", (SystemRun,), {"name": name, "arch": arch}).TestCase()
    run.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
    run.runTest()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_every_system_keeps_the_protocol_for_long(name: str, arch: str) -> None:
    run = type(f"Run of {name} on {arch}", (SystemRun,), {"name": name, "arch": arch}).TestCase()
    run.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
    run.runTest()


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_a_system_says_what_it_is(name: str, arch: str) -> None:
    machine = machine_of(name, arch, nr_nodes=nodes_for(name))
    system = machine.system
    assert system.name == name
    assert system.static_bytes == 17892
    assert system.nr_pages() > 0 and system.metadata_bytes() >= 0
    assert all(isinstance(key, str) for key, _ in system.facts())
    static = [s for s in system.stretches() if s.kind == "static"]
    assert {s.cpu for s in static} >= set(range(NR_CPUS))
    for stretch in static:
        assert stretch.size_bytes >= 17892


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_sections_that_need_a_flush_of_all_tlbs_go_as_they_came(name: str, arch: str) -> None:
    run = type("Run", (SystemRun,), {"name": name, "arch": arch})()
    for size in (600,) * 6:  # more than the hybrid's slack: the last ones are in the window
        run.load_section(size=size, align=1, image=b"m")
    assert len(run.areas) == 6
    run.everything_holds()
    run.teardown()


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_a_cpu_that_is_not_possible_has_no_offset_and_no_copy(name: str, arch: str) -> None:
    machine = booted(name, arch, cpus={"possible": "0,3"}, node=[{"memory_mib": 64}])
    ptr = machine.run_call(machine.give(0, "pcpu_alloc", (64, 8, False, GFP_KERNEL, "test")))
    assert ptr
    for cpu in (1, 2, 4, 7):
        assert machine.system.per_cpu_offset(cpu) == 0
        assert machine.system.copy_addr(ptr, cpu) is None
