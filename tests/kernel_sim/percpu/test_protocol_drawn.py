"""The laws of stretches (drawing_laws.py) for every per-CPU system, after whatever was asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kernel_sim.check import check_machine
from kernel_sim.errors import ConfigError
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.random_state import RandomState
from tests.kernel_sim.percpu.catalogue_machines import (
    FOREVER,
    NR_CPUS,
    SYSTEMS,
    booted,
    image_of,
    keeps_mistakes,
    variants_of,
)
from tests.kernel_sim.percpu.drawing_laws import (
    check_accounted,
    check_apart,
    check_copies,
    check_drawing,
    check_lost,
    check_owned,
)

SIZES = (1, 4, 7, 40, 64, 200, 1000, 4096, 5000, 8192)
MODULES = ("counter", "wide", "plain")
LATE_CPU = NR_CPUS - 1


class Drawn:
    """A machine with one CPU not up yet; the sizes of all that lives, by ptr."""

    def __init__(
        self, name: str, arch: str, seed: int, late: dict[str, str] | None = None, **tables: Any
    ) -> None:
        online = late or {"possible": f"0-{LATE_CPU}", "online": f"0-{LATE_CPU - 1}"}
        self.machine: Machine = booted(name, arch, cpus=online, work={"mode": "scripted"}, **tables)
        self.arch = arch
        self.chance = RandomState.from_seed(seed)
        self.sizes: dict[int, int] = {}
        offline = [cpu for cpu in self.machine.cpus if not self.machine.cpus[cpu].online]
        self.late_cpu = offline[-1]

    def call(self, name: str, *args: Any) -> Any:
        result = self.machine.run_call(self.machine.give(0, name, args))
        self.machine.run(FOREVER)
        return result

    def act(self) -> None:
        """Do one thing, all of it."""
        pick, machine = self.chance.below, self.machine
        what = pick(10)
        sections = [module.percpu_ptr for module in machine.modules.modules]
        areas = [ptr for ptr in self.sizes if ptr not in sections]
        module = MODULES[pick(len(MODULES))]
        if what < 5:
            size = SIZES[pick(len(SIZES))]
            ptr = self.call("pcpu_alloc", size, 1 << pick(7), False, GFP_KERNEL, "drawn")
            if ptr:
                self.sizes[ptr] = size
        elif what == 5 and areas:
            ptr = areas[pick(len(areas))]
            self.call("free_percpu", ptr)
            del self.sizes[ptr]
        elif what == 6 and machine.modules.find_module(module) is None:
            self.call("load_module", image_of(module, self.arch), module, "")
            self._note_section(module)
        elif what == 7 and machine.modules.find_module(module) is not None:
            self._forget_section(module)
            assert self.call("delete_module", module) == 0
        elif what == 8:
            is_up = machine.cpus[self.late_cpu].online
            assert self.call("cpu_down" if is_up else "cpu_up", self.late_cpu) == 0
        elif machine.system.work_function:
            machine.run_call(machine.start_work(0))

    def _note_section(self, name: str) -> None:
        module = self.machine.modules.find_module(name)
        if module is not None and module.percpu_size_bytes:
            self.sizes[module.percpu_ptr] = module.percpu_size_bytes

    def _forget_section(self, name: str) -> None:
        module = self.machine.modules.find_module(name)
        if module is not None:
            self.sizes.pop(module.percpu_ptr, None)

    def check(self) -> None:
        check_drawing(self.machine, self.sizes)


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_every_system_is_drawn_as_it_is(name: str, arch: str) -> None:
    drawn = Drawn(name, arch, 1)
    drawn.check()
    for _ in range(24):
        drawn.act()
        drawn.check()
    assert len(drawn.sizes) > 3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_for_long_and_with_every_switch(name: str, arch: str) -> None:
    for number, options in enumerate([{}, *variants_of(name)]):
        if keeps_mistakes(options):
            continue
        try:
            drawn = Drawn(name, arch, number, percpu={"options": options})
        except ConfigError:  # such a machine cannot be
            continue
        for _ in range(60):
            drawn.act()
            drawn.check()


TWO = [("0-1",), ("2-3",)]
ODD: dict[str, dict[str, Any]] = {
    "sparse": {
        "kernel": {"nr_cpus": 16}, "cpus": {"possible": "0,2,5,11", "online": "0,2,5"},
        "node": [("0,5",), ("2,11",)],
    },
    "uneven": {"cpus": {"possible": "0-4", "online": "0-3"}, "node": [("0-3",), ("4",)]},
    "all": {"cpus": {"possible": "all", "online": "0-2"}, "node": [("0-7",)]},
    "four nodes": {
        "kernel": {"nr_cpus": 32}, "cpus": {"possible": "0-7", "online": "0-6"},
        "node": [("0-1",), ("2-3",), ("4-5",), ("6-7",)],
    },
    "pae": {"kernel": {"page_table_levels": 3}, "node": TWO},
    "five levels": {"kernel": {"page_table_levels": 5}, "node": TWO},
    "no tlb": {"node": TWO, "tlb": {"profile": "none"}},
    "one byte": {"node": TWO, "percpu": {"static_bytes": 1}},
    "odd bytes": {"node": TWO, "percpu": {"static_bytes": 17893}},
    "many bytes": {"node": TWO, "percpu": {"static_bytes": 70001}},
    "plain pages": {"node": TWO, "memory": {"pages": "plain"}},
    "old pages": {"node": TWO, "memory": {"pages": "2.6.20"}},
}  # fmt: skip


def odd_tables(what: str) -> dict[str, Any]:
    """Return the tables of an odd machine: memory is shared out among its nodes."""
    tables = dict(ODD[what])
    node_bytes = (64 << 20) // len(tables["node"])
    tables["node"] = [
        {"cpus": cpus, "memory": [f"{at * node_bytes:#x}-{(at + 1) * node_bytes - 1:#x}"]}
        for at, (cpus,) in enumerate(tables["node"])
    ]
    return tables


def draw_odd(name: str, arch: str, what: str, nr_acts: int) -> None:
    """Act on an odd machine; a system that never ran on such a one says so at boot."""
    tables = odd_tables(what)
    cpus = tables.pop("cpus", {})
    try:
        drawn = Drawn(name, arch, 3, late=cpus, **tables)
    except ConfigError:
        return
    drawn.check()
    for _ in range(nr_acts):
        drawn.act()
        drawn.check()
        check_machine(drawn.machine)


@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_on_a_machine_with_holes(name: str, arch: str) -> None:
    draw_odd(name, arch, "sparse", 8)


@pytest.mark.slow
@pytest.mark.parametrize("what", list(ODD))
@pytest.mark.parametrize(("name", "arch"), SYSTEMS)
def test_so_it_is_on_odd_machines(name: str, arch: str, what: str) -> None:
    draw_odd(name, arch, what, 60)


Damage = Callable[[list[Any]], list[Any]]


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (lambda found: [*found, found[-1]], lambda drawn: check_apart(drawn.machine)),
        (
            lambda found: [each for each in found if each.kind != "free"],
            lambda drawn: check_owned(drawn.machine),
        ),
        (
            lambda found: [replace(each, size_bytes=each.size_bytes - 1) for each in found],
            lambda drawn: check_apart(drawn.machine),
        ),
        (
            lambda found: [each for each in found if each.kind != "dynamic" or each.cpu],
            lambda drawn: check_copies(drawn.machine, drawn.sizes),
        ),
        (
            lambda found: [replace(each, owns_pages=False) for each in found],
            lambda drawn: check_owned(drawn.machine),
        ),
        (
            lambda found: [replace(each, kind="free") for each in found],
            lambda drawn: check_accounted(drawn.machine),
        ),
    ],
)
def test_the_laws_see_what_breaks_them(
    monkeypatch: pytest.MonkeyPatch, damage: Damage, check: Callable[[Drawn], object]
) -> None:
    """Each damage is one that its law has to name; without damage none does."""
    drawn = Drawn("block-2005", "i386", 2)
    for size in (100, 8192):
        drawn.sizes[drawn.call("pcpu_alloc", size, 4, False, GFP_KERNEL, "")] = size
    drawn.check()
    cls = type(drawn.machine.system)
    true = cls.stretches
    monkeypatch.setattr(cls, "stretches", lambda self: iter(damage(list(true(self)))))
    with pytest.raises(AssertionError):
        check(drawn)


def test_a_page_that_nobody_has_is_lost() -> None:
    drawn = Drawn("block-2005", "i386", 2)
    check_lost(drawn.machine)
    assert drawn.machine.pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=0, cpu=0) is not None
    with pytest.raises(AssertionError):
        check_lost(drawn.machine)
