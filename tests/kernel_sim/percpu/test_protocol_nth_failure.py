"""Every per-CPU system with its n-th page request failing, n = 0, 1, 2 … until it asks for no more.

    fail page n ─► the call says so, 0 or -errno ─► nothing of it is left behind ─► the machine is sound
                ─► what succeeded is given back ─► all is as before ─► the same again, and all of it works

Left behind may be what is kept for the next time: page tables, pages and address space that the system draws
as its own and as nobody's data. A page, a slab object or an area of nobody is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.hotplug.callbacks import STACK_ORDER
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.protocol import MODALLOC_SAID
from kernel_sim.percpu.stretch import DATA_KINDS
from kernel_sim.primitives import run_undisturbed
from tests.kernel_sim.percpu.catalogue_machines import (
    FOREVER,
    NR_CPUS,
    SYSTEMS,
    config_of,
    image_of,
    keeps_mistakes,
    variants_of,
)

NTH_MAX = 2000
DENSE = 3  # so many first requests fail one after the other; of later ones every STRIDE-th
STRIDE = 23
LATE_CPU = NR_CPUS - 1
SIZES = (64, 3000, 4096, 8000, 20, 4096, 4096, 8000, 8000)
SCRIPT = "init: counters = pcpu_alloc 3000 8\nexit: free_percpu counters"
ENOMEM, EINVAL = -12, -22


def lost_and_found(machine: Machine) -> dict[str, object]:
    """Return what nobody may lose: pages and areas that the system does not draw, objects, data."""
    system = machine.system
    owned = {page.pfn for page in system.owned_pages()}
    tables = [
        pfn
        for pfn in machine.space.table_pfns
        if machine.pages.owner_state_of(pfn).startswith("allocated")
    ]
    slab_pages = sum(1 << order for _, order in machine.slab.owned_pages())
    stacks = sum(cpu.stack_pfn >= 0 for cpu in machine.cpus.values()) << STACK_ORDER
    pages = sum(1 << order for zone in machine.pages.zones for _, order in zone.allocated_blocks())
    drawn = [stretch.addr for stretch in system.stretches()]
    areas = [
        (area.start, area.size_bytes)
        for space in machine.area_spaces()
        for area in space.areas
        if area.start not in space.lazy
        and not any(area.start <= addr < area.start + area.size_bytes for addr in drawn)
    ]
    by_kind = account_of(machine).by_kind
    return {
        "pages": pages - len(tables) - slab_pages - stacks - len(owned),
        "slab objects": sum(slab.nr_taken for slab in machine.slab.slabs.values()),
        "large objects": len(machine.slab.large),
        "areas": areas,
        "data": {kind: by_kind[kind] for kind in DATA_KINDS},
        "live": list(system.live_areas()),
        "modules": [(mod.name, mod.state) for mod in machine.modules.modules],
        "online": [(cpu.online, cpu.hotplug_state) for cpu in machine.cpus.values()],
    }


@dataclass(slots=True)
class Trial:
    """One run of an operation: what each of its calls gave, and the way back from those that worked."""

    machine: Machine
    arch: str
    results: list[int] = field(default_factory=list)
    undo: list[Callable[[], object]] = field(default_factory=list)

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        call = apply_input(self.machine, Input(self.machine.step, name, cpu, args))
        assert call is not None
        result = self.machine.run_call(call)
        self.machine.run(FOREVER)
        return result

    def try_it(
        self, do: Callable[[], Any], failed: tuple[int, ...], undo: Callable[[Any], object]
    ) -> int:
        """Do something; if it failed, everything is as before it."""
        before = lost_and_found(self.machine)
        result = do()
        assert isinstance(result, int)
        self.results.append(0 if result in failed else 1)
        if result in failed:
            assert lost_and_found(self.machine) == before
            check_machine(self.machine)
        else:
            self.undo.append(lambda: undo(result))
        return result

    def give_back(self) -> None:
        while self.undo:
            self.undo.pop()()


def ask_for_areas(trial: Trial) -> None:
    for number, size in enumerate(SIZES):
        gfp = GFP_ATOMIC if number == 4 else GFP_KERNEL
        cpu = number % LATE_CPU
        trial.try_it(
            lambda size=size, gfp=gfp, cpu=cpu: trial.call(  # type: ignore[misc]
                "pcpu_alloc", size, 8, False, gfp, "nth", cpu=cpu
            ),
            (0,),
            lambda ptr: trial.call("free_percpu", ptr),
        )


def load_a_module(trial: Trial) -> None:
    """-ENOEXEC (rostedt-2006-modules on x86-64) is no failure of ours: it comes after all requests."""

    def load() -> Any:
        return trial.call("load_module", image_of("counter", trial.arch), "counter", SCRIPT)

    def unload(result: int) -> None:
        if result == 0:
            assert trial.call("delete_module", "counter") == 0
        trial.call("do_free_init")

    trial.try_it(load, (ENOMEM,), unload)


def make_sections(trial: Trial) -> None:
    """Modules' sections without modules, as many as make a table of them grow."""
    system = trial.machine.system

    def make(size: int) -> int:
        ptr = run_undisturbed(system.modalloc(0, "section", size, 8, 2, "nth"))
        if ptr not in (0, MODALLOC_SAID) and not system.take_image(0, ptr, b"x" * size):
            run_undisturbed(system.modfree(0, ptr))
            return 0
        return ptr

    for size in (40, 600, 40, 1200, 8, 100):
        trial.try_it(
            lambda size=size: make(size),  # type: ignore[misc]
            (0, MODALLOC_SAID),
            lambda ptr: run_undisturbed(system.modfree(0, ptr)),
        )


def bring_a_cpu_up(trial: Trial) -> None:
    """One that was not there when the areas were made. Its memory may be kept for when it comes back."""
    result = trial.call("cpu_up", LATE_CPU)
    assert result in (0, ENOMEM, EINVAL)
    trial.results.append(int(result == 0))
    check_machine(trial.machine)
    assert trial.machine.cpus[LATE_CPU].online == (result == 0)
    if result == 0:
        for ptr, _ in trial.machine.system.live_areas():
            assert trial.call("per_cpu_ptr", ptr, LATE_CPU) == trial.machine.system.copy_addr(
                ptr, LATE_CPU
            )
            trial.call("this_cpu_write", ptr, 7, 1, cpu=LATE_CPU)
            assert trial.call("per_cpu", ptr, LATE_CPU, 1) == 7
        trial.undo.append(lambda: trial.call("cpu_down", LATE_CPU))


OPERATIONS = {
    "areas": ask_for_areas,
    "module": load_a_module,
    "sections": make_sections,
    "cpu up": bring_a_cpu_up,
}


def prepared(name: str, arch: str, **tables: Any) -> Machine:
    """Return a machine with one CPU not up yet, and a few areas in use."""
    machine = boot(
        config_of(
            name, arch, work={"mode": "scripted"},
            cpus={"possible": f"0-{NR_CPUS - 1}", "online": f"0-{LATE_CPU - 1}"}, **tables,
        )
    )  # fmt: skip
    trial = Trial(machine, arch)
    for size in (100, 3000):
        assert trial.call("pcpu_alloc", size, 8, False, GFP_KERNEL, "before")
    trial.call("load_module", image_of("wide", arch), "wide", "")
    trial.call("do_free_init")
    return machine


def nths(dense: bool) -> Iterator[int]:
    yield from range(DENSE)
    yield from range(DENSE, NTH_MAX, 1 if dense else STRIDE)


def fail_each(
    machine: Machine, arch: str, operation: Callable[[Trial], None], *, once: bool, dense: bool
) -> int:
    """Let each request of an operation fail in turn; returns how many had to."""
    start = dump_parts(machine)
    usual = Trial(machine, arch)
    operation(usual)
    for nr_failed, nth in enumerate(nths(dense)):
        load_parts(machine, start)
        before = lost_and_found(machine)
        trial = Trial(machine, arch)
        knob = ("fail_page_alloc", (f"nth={nth}",)) if once else ("fail_pages", (nth,))
        apply_input(machine, Input(machine.step, knob[0], 0, knob[1]))
        operation(trial)
        check_machine(machine)
        fault = machine.pages.fault
        is_over = fault.nth_left >= 0 if once and fault else machine.pages.fail_after > 0
        apply_input(machine, Input(machine.step, "fail_page_alloc", 0, ("",)))
        apply_input(machine, Input(machine.step, "fail_pages", 0, (-1,)))
        assert machine.fault is None
        trial.give_back()
        check_machine(machine)
        if operation is not bring_a_cpu_up:  # a node's own PDA and the like stay, for good
            assert lost_and_found(machine) == before
        again = Trial(machine, arch)
        operation(again)
        assert again.results == usual.results
        again.give_back()
        check_machine(machine)
        if is_over:
            return nr_failed
    raise AssertionError(f"more than {NTH_MAX} requests")


@pytest.mark.parametrize("what", list(OPERATIONS))
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_a_request_that_fails_leaves_all_as_it_was(name: str, arch: str, what: str) -> None:
    nr_failed = fail_each(prepared(name, arch), arch, OPERATIONS[what], once=True, dense=False)
    assert nr_failed or what == "sections", "nothing had to fail"


def test_the_account_sees_what_is_lost() -> None:
    """A page, an object and an area that nobody has: each is in it."""
    machine = prepared("block-2005", "i386")
    before = lost_and_found(machine)
    pages = machine.pages
    assert pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=0, cpu=0) is not None
    assert machine.slab.kmalloc_node(64, GFP_KERNEL, 0) is not None
    assert machine.vmalloc.alloc_area(8192, 4096, "nobody") is not None
    after = lost_and_found(machine)
    assert [key for key in after if after[key] != before[key]] == ["pages", "slab objects", "areas"]


@pytest.mark.slow
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("what", list(OPERATIONS))
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_does_each_and_every_one_of_them(name: str, arch: str, what: str, once: bool) -> None:
    fail_each(prepared(name, arch), arch, OPERATIONS[what], once=once, dense=True)


@pytest.mark.slow
@pytest.mark.parametrize("what", list(OPERATIONS))
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_with_every_switch(name: str, arch: str, what: str) -> None:
    for options in variants_of(name):
        if keeps_mistakes(options):
            continue
        try:
            machine = prepared(name, arch, percpu={"options": options})
        except ConfigError:  # such a machine cannot be
            continue
        fail_each(machine, arch, OPERATIONS[what], once=True, dense=True)
