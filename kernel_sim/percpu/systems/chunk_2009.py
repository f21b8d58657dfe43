"""`chunk-2009`: T. Heo's allocator of February 2009, one for static and dynamic variables, until 4.13.

         c0                          c1                          c2
    | u0 | u1 | u2 | u3 |  ....  | u0 | u1 | u2 | u3 |  ....  | u0 | u1 | u2 …      vmalloc space
      static, reserved, dynamic     areas at the same offset in every unit

A variable's copies are unit_offset[cpu] apart in every chunk, so one base register reaches static variables
and areas alike. What is where in a chunk is an area map (area_map.py); pages come on demand, HIGHMEM and
COLD, each on its CPU's node. The stages from the mail to 2.6.34 are switches (area_stage.py).
Source: LKML, 13 Feb 2009, "Re: #tj-percpu has been rebased"; mm/percpu.c, fbf59bc9d74d to Linux 2.6.34.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from kernel_sim.mm.tlb_flush import flush_tlb_kernel_range
from kernel_sim.percpu.area_alloc import AreaAlloc
from kernel_sim.percpu.area_alloc_v1 import AreaAllocV1
from kernel_sim.percpu.area_boot import AreaPlaced, map_area, place_area
from kernel_sim.percpu.area_boot_log import area_boot_lines
from kernel_sim.percpu.area_memory import AreaMemory
from kernel_sim.percpu.area_percpu import MIN_UNIT_BYTES, AreaBacking
from kernel_sim.percpu.area_plan import PMD_CHOICES, AreaChoices, AreaPlan, area_plan
from kernel_sim.percpu.area_pmd import AreaPmdBacking
from kernel_sim.percpu.area_stage import LATEST, STAGE_NAMES, stage_named
from kernel_sim.percpu.area_stretches import AreaDrawing
from kernel_sim.percpu.area_system import AreaSystem, new_percpu
from kernel_sim.percpu.area_vm import AreaVmBacking
from kernel_sim.percpu.area_vm_v1 import AreaVmV1Backing
from kernel_sim.percpu.options import Option
from kernel_sim.percpu.system_entry import SystemEntry

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine

NAME = "chunk-2009"


def chunk_plan(config: MachineConfig) -> AreaPlan:
    """Return what a machine's description comes to. Raises ConfigError."""
    option = config.percpu.option
    choices = AreaChoices(
        stage=stage_named(cast("str", option("stage"))),
        pmd=cast("str", option("pmd")),
        lpage=cast("bool", option("lpage")),
        dynamic_auto=cast("bool", option("dynamic_auto")),
        min_unit_bytes=cast("int", option("min_unit_bytes")),
        unit_bytes=cast("int", option("unit_bytes")),
    )
    return area_plan(config, choices)


def place_chunk_2009(early: EarlyMemory) -> AreaPlaced:
    """Set memory of the first chunk aside. Raises ConfigError."""
    return place_area(early, chunk_plan(early.config))


def boot_chunk_2009(machine: Machine, placed: AreaPlaced) -> AreaSystem:
    """Make the allocator and give it its first chunk. Raises ConfigError."""
    plan = placed.plan
    machine.units = units = map_area(machine, placed)
    percpu = new_percpu(machine, plan, units)
    memory = AreaMemory(
        units.places, machine.pages, machine.memory, machine.space,
        flush=partial(flush_tlb_kernel_range, machine),
        access=machine.access if machine.tlbs else None,
    )  # fmt: skip
    vm = AreaVmBacking(percpu, memory, machine.vmalloc)
    backing: AreaBacking = vm
    if plan.choices.pmd != "none":
        backing = AreaPmdBacking(vm, plan.large_shift, waits=plan.choices.pmd == "when_full")
    at_once = plan.choices.stage.frees_at_once
    alloc = AreaAlloc(percpu, backing)
    return AreaSystem(
        machine,
        percpu,
        plan,
        paths=AreaAllocV1(percpu, AreaVmV1Backing(vm)) if at_once else alloc,
        work=None if at_once else alloc,
        drawing=AreaDrawing(machine, percpu, plan),
        lines=area_boot_lines(machine, placed, units),
        name=NAME,
    )


AREA_KEYS = (
    "first_chunk", "reserved_bytes", "dynamic_bytes", "atom_bytes", "distance_fn", "group_phys",
)  # fmt: skip
MIN_UNIT_OPTION = Option(
    "min_unit_bytes", MIN_UNIT_BYTES,
    "PCPU_MIN_UNIT_SIZE, also the largest request: 65536, from 2.6.37 on 32768",
    lowest=4096, highest=1 << 22,
)  # fmt: skip
AUTO_OPTION = Option(
    "dynamic_auto", False, "the dynamic part is just what rounding to a page leaves (dyn_size -1)"
)

ENTRY = SystemEntry(
    name=NAME,
    title="chunks with area maps, one allocator for static and dynamic",
    years="2009 to 2017 (2.6.30 to 4.13)",
    arches=("x86-64", "i386"),
    place=place_chunk_2009,
    boot=boot_chunk_2009,
    options=(
        Option(
            "stage", LATEST.name,
            "mail: the draft of 13 Feb 2009; v1: first commit; .31; .32: groups, congruent", STAGE_NAMES,
        ),
        Option(
            "pmd", "none",
            "large pages behind later chunks: at once (units), or once a chunk is full", PMD_CHOICES,
        ),
        Option(
            "lpage", False,
            "first chunk on large pages: v1 one for each CPU (remap), .31 shared (percpu_alloc=lpage)",
        ),
        AUTO_OPTION,
        MIN_UNIT_OPTION,
        Option(
            "unit_bytes", 128 << 10, "UNIT_SIZE in stage mail", lowest=4096, highest=1 << 24
        ),
    ),
    keys=AREA_KEYS,
    zero_based=True,
    static_bytes=45056,  # of most cases recorded from 2.6.34
    nr_cpus=(("i386", 8), ("x86-64", 64)),
    pages="2.6.20",
    vmalloc_follows_memory=True,
    dynamic_bytes=20 << 10,
)  # fmt: skip
