"""`percpu-km-2010`: the allocator with area maps for machines without an MMU, April 2010 (2.6.35).

Maps, lists, first chunk and the way of an access are chunk-2009's; a later chunk is one block of kernel
memory (area_km.py). One group of CPUs, an embedded first chunk, a power of two of pages in every chunk.
Source: "percpu: implement kernel memory based chunk allocation", 9 Apr 2010.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.area_alloc import AreaAlloc
from kernel_sim.percpu.area_boot import AreaPlaced, map_area, place_area
from kernel_sim.percpu.area_boot_log import area_boot_lines
from kernel_sim.percpu.area_km import PAGED_TEXT, AreaKmBacking, pcpu_verify_alloc_info
from kernel_sim.percpu.area_memory import AreaMemory
from kernel_sim.percpu.area_plan import AreaChoices, AreaPlan, area_plan
from kernel_sim.percpu.area_stage import AreaStage
from kernel_sim.percpu.area_stretches import AreaDrawing
from kernel_sim.percpu.area_system import AreaSystem, new_percpu
from kernel_sim.percpu.options import Option
from kernel_sim.percpu.system_entry import SystemEntry
from kernel_sim.percpu.systems.chunk_2009 import AREA_KEYS, AUTO_OPTION, MIN_UNIT_OPTION
from kernel_sim.percpu.systems.chunk_2009 import ENTRY as CHUNK_2009

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine

NAME: Final = "percpu-km-2010"
STAGE: Final = AreaStage("2.6.35")


def km_plan(config: MachineConfig) -> AreaPlan:
    """Return what a machine's description comes to. Raises ConfigError for what km cannot do."""
    if config.percpu.first_chunk == "page":
        raise ConfigError(f'{config.name}: [percpu] first_chunk: {PAGED_TEXT}; expected "embed"')
    option = config.percpu.option
    choices = AreaChoices(
        STAGE,
        dynamic_auto=cast("bool", option("dynamic_auto")),
        min_unit_bytes=cast("int", option("min_unit_bytes")),
    )
    plan = area_plan(config, choices)
    error, lines = pcpu_verify_alloc_info(plan.info)
    if error:
        raise ConfigError(
            f"{config.name}: [percpu] distance_fn: {lines[0].text} ({error}, -EINVAL): the layout has"
            f" {len(plan.info.groups)}; expected distance_fn = false, or one node"
        )
    return plan


def place_km(early: EarlyMemory) -> AreaPlaced:
    """Set memory of the first chunk aside. Raises ConfigError."""
    return place_area(early, km_plan(early.config))


def boot_km(machine: Machine, placed: AreaPlaced) -> AreaSystem:
    """Make the allocator and give it its first chunk."""
    clears = cast("bool", machine.config.percpu.option("km_zero"))
    machine.units = units = map_area(machine, placed)
    percpu = new_percpu(machine, placed.plan, units)
    memory = AreaMemory(
        units.places, machine.pages, machine.memory, machine.space,
        access=machine.access if machine.tlbs else None,
    )  # fmt: skip
    backing = AreaKmBacking(percpu, memory, machine.arch.direct_map_addr, clears)
    alloc = AreaAlloc(percpu, backing)
    _, verify = pcpu_verify_alloc_info(units.info)
    return AreaSystem(
        machine,
        percpu,
        placed.plan,
        paths=alloc,
        work=alloc,
        drawing=AreaDrawing(machine, percpu, placed.plan, backing.order),
        lines=area_boot_lines(machine, placed, units, verify),
        name=NAME,
        zeroes=clears,
    )


ENTRY = SystemEntry(
    name=NAME,
    title="chunks with area maps in blocks of kernel memory",
    years="2010 to today (2.6.35 on)",
    arches=CHUNK_2009.arches,
    place=place_km,
    boot=boot_km,
    options=(
        Option("km_zero", True, "areas are cleared (2.6.37); false: as posted, they are not"),
        AUTO_OPTION,
        MIN_UNIT_OPTION,
    ),
    keys=AREA_KEYS,
    zero_based=True,
    static_bytes=CHUNK_2009.static_bytes,
    nr_cpus=CHUNK_2009.nr_cpus,
    pages=CHUNK_2009.pages,
    vmalloc_follows_memory=True,
    dynamic_bytes=CHUNK_2009.dynamic_bytes,
)
