"""What a description asks of an allocator with area maps: the day, the first chunk, the layout.

    how      memory of the first chunk                       days
    static   pages of the static variables, in vmalloc       mail, v1: the rest comes on demand
    embed    a block of the direct map for each group        .31 (one block, not with several nodes), .32
    page     single pages in vmalloc, the whole unit         .31, .32
    lpage    large pages in vmalloc, unused ends given back  v1 (one a CPU, "remap"), .31 (shared)

Source: setup_per_cpu_areas() of arch/x86/kernel/setup_percpu.c and the first chunk builders in mm/percpu.c,
Linux 2.6.30 to 2.6.34.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kernel_sim.alignment import align_up, is_power_of_two
from kernel_sim.errors import ConfigError
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.paging_modes import paging_mode
from kernel_sim.percpu.area_layout import DYN_AUTO, build_area_alloc_info
from kernel_sim.percpu.area_percpu import MIN_UNIT_BYTES
from kernel_sim.percpu.area_stage import LATEST, AreaStage
from kernel_sim.percpu.unit_layout import AllocInfo, GroupInfo

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig

STATIC: Final = "static"
EMBED: Final = "embed"
PAGE: Final = "page"
LPAGE: Final = "lpage"
PMD_CHOICES: Final = ("none", "units", "when_full")
MODULE_RESERVE_BYTES: Final = 8 << 10


@dataclass(frozen=True, slots=True)
class AreaChoices:
    """The switches of a description. unit_bytes: UNIT_SIZE of stage mail, the only one to fix it."""

    stage: AreaStage = LATEST
    pmd: str = "none"
    lpage: bool = False
    dynamic_auto: bool = False
    min_unit_bytes: int = MIN_UNIT_BYTES
    unit_bytes: int = 128 << 10


@dataclass(frozen=True, slots=True)
class AreaPlan:
    """One machine's plan. large_shift: of a large page. by_pages: the layout if embedding fails."""

    choices: AreaChoices
    how: str
    info: AllocInfo
    by_pages: AllocInfo
    large_shift: int

    def paged(self) -> AreaPlan:
        """Return the plan with the first chunk built page by page after all."""
        return replace(self, how=PAGE, info=self.by_pages)


def area_plan(config: MachineConfig, choices: AreaChoices) -> AreaPlan:
    """Return what a machine's description comes to. Raises ConfigError for what no such kernel could be."""
    _check_choices(config, choices)
    kernel, percpu, stage = config.kernel, config.percpu, choices.stage
    large_shift = paging_mode(kernel.arch_name, kernel.page_table_levels).leaf_shifts[-2]
    how = _how(config, choices)
    if how == STATIC:
        info = _static_info(config, choices)
        return AreaPlan(choices, how, info, info, large_shift)
    large_bytes = 1 << large_shift
    atom = percpu.atom_bytes if stage.has_groups and how == EMBED else PAGE_SIZE_BYTES
    if how == LPAGE or choices.pmd != "none":
        atom = max(atom, large_bytes)
    min_unit = choices.min_unit_bytes
    if choices.pmd != "none" or (how == LPAGE and stage.frees_at_once):
        min_unit = max(min_unit, large_bytes)
    shares_by_node = how == LPAGE and not stage.frees_at_once
    by_node = percpu.distance_fn if stage.has_groups and how == EMBED else shares_by_node
    dyn = percpu.dynamic_bytes if how != PAGE and not choices.dynamic_auto else DYN_AUTO
    by_pages = _info(
        config,
        choices,
        DYN_AUTO,
        atom if choices.pmd != "none" else PAGE_SIZE_BYTES,
        min_unit,
        False,
    )
    info = by_pages if how == PAGE else _info(config, choices, dyn, atom, min_unit, by_node)
    return AreaPlan(choices, how, info, by_pages, large_shift)


def _info(
    config: MachineConfig,
    choices: AreaChoices,
    dyn_size_bytes: int,
    atom_size_bytes: int,
    min_unit_bytes: int,
    by_node: bool,
) -> AllocInfo:
    percpu = config.percpu
    return build_area_alloc_info(
        static_size_bytes=percpu.static_bytes,
        reserved_size_bytes=percpu.reserved_bytes if choices.stage.has_reserved else 0,
        dyn_size_bytes=dyn_size_bytes,
        atom_size_bytes=atom_size_bytes,
        cpus=config.cpus.possible,
        node_of=config.topology().node_of_cpu.__getitem__ if by_node else None,
        min_unit_bytes=min_unit_bytes,
    )


def _how(config: MachineConfig, choices: AreaChoices) -> str:
    """Return how the first chunk is built: as the setup code of the day chose."""
    stage = choices.stage
    if choices.lpage:
        return LPAGE
    if stage.frees_at_once:
        return STATIC
    if config.percpu.first_chunk == "page":
        return PAGE
    is_numa = len(config.nodes) > 1
    return LPAGE if is_numa and not stage.has_groups else EMBED


def _static_info(config: MachineConfig, choices: AreaChoices) -> AllocInfo:
    """Return the layout of the first commit: units a power of two, side by side, no more parts than two."""
    static_bytes, cpus = config.percpu.static_bytes, config.cpus.possible
    alone = choices.stage.static_alone
    least = choices.unit_bytes if alone else choices.min_unit_bytes
    nr_pages = max(align_up(static_bytes, PAGE_SIZE_BYTES), least) >> PAGE_SHIFT
    unit_bytes = 1 << (nr_pages - 1).bit_length() + PAGE_SHIFT
    if alone and unit_bytes != choices.unit_bytes:
        raise ConfigError(
            f"{config.name}: [percpu] static_bytes: {static_bytes}; expected at most unit_bytes ="
            f" {choices.unit_bytes}, which must be a power of two"
        )
    return AllocInfo(
        static_size_bytes=static_bytes,
        reserved_size_bytes=0,
        dyn_size_bytes=0 if alone else unit_bytes - static_bytes,
        unit_size_bytes=unit_bytes,
        atom_size_bytes=PAGE_SIZE_BYTES,
        alloc_size_bytes=unit_bytes,
        upa=1,
        groups=(GroupInfo(len(cpus), 0, cpus),),
    )


def _check_choices(config: MachineConfig, choices: AreaChoices) -> None:
    percpu, stage = config.percpu, choices.stage

    def refuse(key: str, problem: str) -> ConfigError:
        return ConfigError(f"{config.name}: [percpu.options] {key}: {problem}")

    if choices.min_unit_bytes % PAGE_SIZE_BYTES or (
        stage.frees_at_once and not is_power_of_two(choices.min_unit_bytes)
    ):
        raise refuse(
            "min_unit_bytes",
            f"{choices.min_unit_bytes}; expected whole pages, a power of two in v1",
        )
    if choices.lpage and (stage.has_groups or stage.static_alone):
        raise refuse(
            "lpage", f"stage {stage.name} has no large page first chunk; expected v1 or .31"
        )
    if choices.lpage and percpu.first_chunk == "page":
        raise refuse("lpage", 'with first_chunk = "page"; expected one of them')
    if choices.pmd != "none" and stage.frees_at_once:
        raise refuse("pmd", f"not in stage {stage.name}; expected .31 or .32")
    if not stage.has_reserved and percpu.reserved_bytes not in (0, MODULE_RESERVE_BYTES):
        raise ConfigError(
            f"{config.name}: [percpu] reserved_bytes: {percpu.reserved_bytes}; nothing is kept for"
            f" modules in stage {stage.name}; expected no such key"
        )
    if percpu.group_phys and _how(config, choices) != EMBED:
        raise ConfigError(
            f"{config.name}: [percpu] group_phys: the first chunk is not embedded here;"
            " expected no such key"
        )
