"""Four CPUs ask every per-CPU system at the same time, under seeded schedules, and nothing goes wrong.

    cpu 0   pcpu_alloc ── free_percpu ── cpu_down 3 ── …         one step of one CPU at a time
    cpu 1   load_module ── this_cpu_write ── delete_module        after every step: the machine's own check,
    cpu 2   pcpu_alloc ── per_cpu ── kworker ── …                  and each call that ended against the model

The model has the areas that live and what was last written to each copy. It learns of a call at the very
step in which that ends, so whatever else is under way has no excuse. An area is given back only when no
call that uses it is under way: what it then is until free_percpu() is done is nobody's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from kernel_sim.call import Call
from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.hotplug.callbacks import STACK_ORDER
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from kernel_sim.modules.module import LIVE
from kernel_sim.percpu.stretch import DYNAMIC, HOLE, MODULE
from kernel_sim.primitives import run_undisturbed
from kernel_sim.random_state import RandomState
from tests.kernel_sim.percpu.catalogue_machines import (
    NR_CPUS,
    SYSTEMS,
    booted,
    image_of,
    keeps_mistakes,
    variants_of,
)
from tests.kernel_sim.percpu.drawing_laws import check_apart

SIZES = (1, 4, 24, 64, 200, 1024, 3000, 4096)
ALIGNS = (1, 4, 8, 64)
AREAS_MAX = 24
STEPS_MAX = 100_000
POLICIES = ("round_robin", "random", "pct")
MODULES = ("counter", "wide", "plain")


@dataclass(slots=True)
class Area:
    size: int
    align: int
    bytes_of: list[bytes]
    module: str = ""
    nr_users: int = 0  # calls under way that name it


@dataclass(slots=True)
class Asked:
    """A call under way, and what the model has to know when it ends."""

    call: Call
    name: str
    args: tuple[Any, ...]


@dataclass(slots=True)
class Crowd:
    """A machine, four CPUs full of calls, and the model."""

    machine: Machine
    arch: str
    chance: RandomState
    checks_every: int
    percent_failing: int = 0  # of page requests, in every other stretch of work
    areas: dict[int, Area] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    leaving: dict[str, None] = field(default_factory=dict)  # modules that are loaded or unloaded
    nr_done: dict[str, int] = field(default_factory=dict)
    nr_looks: int = 0

    # -- asking ------------------------------------------------------------------------------------

    def act(self) -> None:
        """Ask one CPU for one thing; what may not be asked now (its CPU comes or goes) is not."""
        cpu = self.chance.below(NR_CPUS)
        if self.percent_failing and not self.chance.below(6):
            self._give(
                0, "fail_page_alloc", self._pick(("", f"probability={self.percent_failing}"))
            )
        kind = self.chance.below(16)
        if kind < 5:
            self._ask_for_area(cpu)
        elif kind < 12 and self.areas:
            self._use_area(cpu, kind)
        elif kind == 12 and self.machine.system.work_function:
            self._give(cpu, "kworker")
        elif kind == 13:
            self._give(cpu, ("cpu_down", "cpu_up")[self.chance.below(2)], 1 + self.chance.below(3))
        elif kind == 14:
            self._load_or_unload(cpu)
        elif kind == 15:
            self._give(cpu, "do_free_init")

    def _pick(self, choices: Any) -> Any:
        return choices[self.chance.below(len(choices))]

    def _ask_for_area(self, cpu: int) -> None:
        nr_coming = sum(asked.name == "pcpu_alloc" for asked in self.asked)
        if len(self.areas) + nr_coming < AREAS_MAX:
            gfp = GFP_KERNEL if self.chance.below(4) else GFP_ATOMIC
            size, align = self._pick(SIZES), self._pick(ALIGNS)
            self._give(cpu, "pcpu_alloc", size, align, False, gfp, "crowd")

    def _use_area(self, cpu: int, kind: int) -> None:
        ptr = self._pick(sorted(self.areas))
        area = self.areas[ptr]
        if area.module in self.leaving:
            return
        if kind < 8:
            if area.nr_users == 0 and not area.module and self._give(cpu, "free_percpu", ptr):
                del self.areas[ptr]
        elif kind == 8:
            area.nr_users += self._give(cpu, "per_cpu", ptr, self.chance.below(NR_CPUS), 1)
        elif kind == 9:
            area.nr_users += self._give(cpu, "this_cpu_add", ptr, self.chance.below(256), 1)
        else:
            area.nr_users += self._give(cpu, "this_cpu_write", ptr, self.chance.below(256), 1)

    def _load_or_unload(self, cpu: int) -> None:
        name = self._pick(MODULES)
        if name in self.leaving:
            return
        if self.machine.modules.find_module(name) is None:
            if self._give(cpu, "load_module", image_of(name, self.arch), name, ""):
                self.leaving[name] = None
            return
        own = [area for area in self.areas.values() if area.module == name]
        if not any(area.nr_users for area in own) and self._give(cpu, "delete_module", name):
            self.leaving[name] = None
            self.areas = {ptr: area for ptr, area in self.areas.items() if area.module != name}

    def _give(self, cpu: int, name: str, *args: Any) -> bool:
        try:
            call = apply_input(self.machine, Input(self.machine.step, name, cpu, args))
        except ConfigError:  # the CPU is offline, or on its way
            return False
        if call is not None and name != "kworker":
            self.asked.append(Asked(call, name, args))
        return True

    # -- running -----------------------------------------------------------------------------------

    def run(self, nr_steps: int) -> None:
        """Take steps one by one, with everything looked at after each."""
        for _ in range(nr_steps):
            if self.machine.is_idle:
                return
            before = self.machine.step
            self.machine.run(before + 1)
            assert self.machine.fault is None, self.machine.fault
            assert self.machine.step == before + 1
            assert before < STEPS_MAX
            self._look()

    def drain(self) -> None:
        """Run to the end of all calls."""
        self.run(STEPS_MAX)
        assert self.machine.is_idle and not self.asked

    def _look(self) -> None:
        ended = [asked for asked in self.asked if asked.call.done]
        self.asked = [asked for asked in self.asked if not asked.call.done]
        for asked in ended:
            self.nr_done[asked.name] = self.nr_done.get(asked.name, 0) + 1
            self._note(asked)
        self.nr_looks += 1
        if self.nr_looks % self.checks_every == 0 or self.machine.is_idle:
            check_machine(self.machine)
            check_apart(self.machine)
            self._check_areas()

    def _note(self, asked: Asked) -> None:
        """Tell the model of a call that ended in this step."""
        result, args, cpu = asked.call.result, asked.args, asked.call.cpu
        if asked.name == "pcpu_alloc":
            if result:
                self._note_area(int(str(result)), args[0], args[1])
        elif asked.name in ("load_module", "delete_module"):
            self._note_module(asked.name, args)
        elif asked.name in ("this_cpu_write", "this_cpu_add", "per_cpu"):
            area = self.areas[args[0]]
            area.nr_users -= 1
            owner = args[1] if asked.name == "per_cpu" else cpu
            held = area.bytes_of[owner]
            if asked.name == "per_cpu":
                assert result == held[0]
                return
            value = args[1] + (held[0] if asked.name == "this_cpu_add" else 0)
            area.bytes_of[owner] = bytes([value & 0xFF]) + held[1:]

    def _note_area(self, ptr: int, size: int, align: int, module: str = "") -> None:
        assert ptr not in self.areas
        copies = [self._read(ptr, cpu, size) for cpu in range(NR_CPUS)]
        if module:
            assert len(dict.fromkeys(copies)) == 1, f"copies of {module} differ"
        elif self.machine.system.zeroes:
            assert not any(map(any, copies)), f"{ptr:#x} is not zero"
        self.areas[ptr] = Area(size, align, copies, module)

    def _note_module(self, what: str, args: tuple[Any, ...]) -> None:
        name = args[0] if what == "delete_module" else args[1]
        del self.leaving[name]
        module = self.machine.modules.find_module(name)
        if what == "delete_module":
            assert module is None
        elif module is not None and module.percpu_size_bytes:
            assert module.state == LIVE
            size, align = module.percpu_size_bytes, module.percpu_align
            self._note_area(module.percpu_ptr, size, align, name)

    # -- looking -----------------------------------------------------------------------------------

    def _read(self, ptr: int, owner: int, size: int) -> bytes:
        """Read a copy as one who sees everything, without any CPU's TLB."""
        addr = self.machine.system.copy_addr(ptr, owner)
        assert addr is not None, f"cpu {owner} has no copy of {ptr:#x}"
        data = b""
        while len(data) < size:
            at = addr + len(data)
            phys = self.machine.space.translate(at)
            assert phys is not None, f"{at:#x} of a live area is not mapped"
            data += self.machine.memory.read(phys, min(size - len(data), 4096 - at % 4096))
        return data

    def _check_areas(self) -> None:
        """Every live copy is apart from all others, aligned, and has its bytes."""
        system, spans = self.machine.system, []
        for ptr, area in self.areas.items():
            assert system.holds(ptr)
            for owner in range(NR_CPUS):
                assert self._read(ptr, owner, area.size) == area.bytes_of[owner]
                addr = system.copy_addr(ptr, owner)
                assert addr is not None
                if area.module or system.keeps_alignment:
                    assert addr % area.align == 0
                spans.append((addr, addr + area.size))
        for (_, end), (start, _) in pairwise(sorted(spans)):
            assert end <= start, f"two copies share {start:#x}"

    def drawn(self) -> dict[int, None]:
        """Return the ptrs that are drawn."""
        stretches = self.machine.system.stretches()
        return dict.fromkeys(s.ptr for s in stretches if s.kind in (DYNAMIC, MODULE) and s.ptr)

    def check_agreement(self) -> None:
        """All is quiet: what the system says it has is what the model has."""
        assert sorted(self.drawn()) == sorted(self.areas)
        dynamic = {ptr for ptr, area in self.areas.items() if not area.module}
        assert {ptr for ptr, _ in self.machine.system.live_areas()} >= dynamic
        for stretch in self.machine.system.stretches():
            assert (stretch.kind == HOLE) == (self.machine.space.translate(stretch.addr) is None)

    def give_all_back(self) -> None:
        """Free and unload everything, with all CPUs up again."""
        self._give(0, "fail_page_alloc", "")
        for cpu in range(1, NR_CPUS):
            if not self.machine.cpus[cpu].online:
                assert self._give(0, "cpu_up", cpu)
                self.drain()
        for number, ptr in enumerate(sorted(self.areas)):
            if not self.areas[ptr].module:
                assert self._give(number % NR_CPUS, "free_percpu", ptr)
        for name in [module.name for module in self.machine.modules.modules]:
            self.leaving[name] = None
            assert self._give(0, "delete_module", name)
        self.areas.clear()
        self.drain()
        self._give(0, "do_free_init")
        if self.machine.system.work_function:
            self._give(0, "kworker")
        self.drain()
        self._give(0, "purge_vmap")


def quiet_account(machine: Machine) -> dict[str, object]:
    """Return what must be as at boot when everything was given back; systems may keep pages for later."""
    taken = sum(slab.nr_taken for slab in machine.slab.slabs.values()) + len(machine.slab.large)
    owned = {page.pfn for page in machine.system.owned_pages()}
    tables = [pfn for pfn in machine.space.table_pfns if _is_taken(machine, pfn)]
    slabs = sum(1 << order for _, order in machine.slab.owned_pages())
    stacks = sum(cpu.stack_pfn >= 0 for cpu in machine.cpus.values()) << STACK_ORDER
    allocated = sum(
        1 << order for zone in machine.pages.zones for _, order in zone.allocated_blocks()
    )
    return {
        "slab objects": taken,
        "pages of nobody": allocated - slabs - stacks - len(owned) - len(tables),
        "module areas": len(machine.modules.modules) + len(machine.modules.init_free),
        "live": list(machine.system.live_areas()),
    }


def _is_taken(machine: Machine, pfn: int) -> bool:
    return machine.pages.owner_state_of(pfn).startswith("allocated")


def crowd_run(
    name: str,
    arch: str,
    policy: str,
    seed: int,
    *,
    nr_acts: int,
    checks_every: int = 1,
    percent_failing: int = 0,
    **tables: Any,
) -> Crowd:
    """Let a crowd work, and give everything back; what is there then is what was there at boot."""
    machine = booted(name, arch, schedule={"policy": policy, "seed": seed}, **tables)
    before = quiet_account(machine)
    chance = RandomState.from_seed(seed, stream=7)
    crowd = Crowd(machine, arch, chance, checks_every, percent_failing)
    for _ in range(nr_acts):
        crowd.act()
        if not chance.below(3):
            crowd.run(chance.below(12))
    crowd.drain()
    crowd.check_agreement()
    crowd.give_all_back()
    check_machine(machine)
    assert not crowd.drawn()
    assert quiet_account(machine) == before
    return crowd


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_every_system_is_sound_at_every_step_of_a_crowd(name: str, arch: str, policy: str) -> None:
    crowd = crowd_run(name, arch, policy, 1, nr_acts=28)
    assert crowd.nr_done["pcpu_alloc"] > 3 and crowd.nr_done["free_percpu"] > 3


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_while_page_requests_fail(name: str, arch: str) -> None:
    crowd_run(name, arch, "random", 3, nr_acts=60, checks_every=16, percent_failing=40)


@pytest.mark.slow
@pytest.mark.parametrize("percent_failing", [0, 15, 60])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_in_many_crowds(name: str, arch: str, policy: str, percent_failing: int) -> None:
    for seed in range(2, 12):
        crowd_run(
            name, arch, policy, seed,
            nr_acts=200, checks_every=7, percent_failing=percent_failing,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_with_every_switch_of_every_system(name: str, arch: str) -> None:
    for options in variants_of(name):
        if keeps_mistakes(options):
            continue
        for seed in range(4):
            try:
                crowd_run(
                    name, arch, POLICIES[seed % 3], seed, nr_acts=100, checks_every=7,
                    percent_failing=40 * (seed % 2), percpu={"options": options},
                )  # fmt: skip
            except ConfigError:  # such a machine cannot be
                break


def test_the_crowd_sees_a_byte_that_nobody_wrote_and_an_area_that_is_gone() -> None:
    """A crowd that looked at nothing would be content, too."""
    machine = booted("bitmap", "x86-64")
    crowd = Crowd(machine, "x86-64", RandomState.from_seed(1), checks_every=1)
    for _ in range(2):
        crowd._give(0, "pcpu_alloc", 64, 8, False, GFP_KERNEL, "")
    crowd.drain()
    crowd._check_areas()
    first, second = crowd.areas
    addr = machine.system.copy_addr(first, 2)
    assert addr is not None
    machine.access.write(2, addr + 63, b"!")
    with pytest.raises(AssertionError):
        crowd._check_areas()
    machine.access.write(2, addr + 63, bytes(1))
    crowd._check_areas()
    run_undisturbed(machine.system.free(0, second))
    with pytest.raises(AssertionError):
        crowd._check_areas()
    with pytest.raises(AssertionError):
        crowd.check_agreement()
