"""A machine for a log that does not tell its own."""

from __future__ import annotations

import pytest

from kernel_sim.arch import ARCHES
from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from snapshots.logs.guess import CPUS_MAX, guess_mapping
from snapshots.logs.trace_log import TraceEvent
from tests.snapshots.conftest import log_of

ALLOC = TraceEvent(1, "alloc", "a", 1, 0, "....", 0, size=8, align=8, base_addr=1 << 40, off=64)


def guessed(*events: TraceEvent, base: int | None = None) -> MachineConfig:
    return MachineConfig.from_mapping(guess_mapping(log_of(events), base), where="guess")


@pytest.mark.parametrize("nr_cpus", [1, 2, 3, 8, 64])
def test_cpus_follow_from_the_bytes_of_an_allocation(nr_cpus: int) -> None:
    config = guessed(ALLOC._replace(bytes_alloc=8 * nr_cpus + 16))
    assert config.cpus.possible == tuple(range(nr_cpus))


def test_every_cpu_that_prints_is_there() -> None:
    assert len(guessed(ALLOC._replace(cpu=5)).cpus.possible) == 6
    assert len(guessed(ALLOC._replace(cpu=None)).cpus.possible) == 1
    assert len(guessed().cpus.possible) == 1


def test_lines_that_disagree_are_no_obstacle() -> None:
    config = guessed(ALLOC._replace(bytes_alloc=48), ALLOC._replace(bytes_alloc=47, cpu=2))
    assert len(config.cpus.possible) == 3


@pytest.mark.parametrize("off", [64, 100_000, 500_000, 1_000_000, 2_000_000])
def test_units_reach_as_far_as_the_log(off: int) -> None:
    config = guessed(ALLOC._replace(bytes_alloc=8 * 8 + 16, off=off))
    assert config.alloc_info().unit_size_bytes >= off + 8
    assert len(config.cpus.possible) == 8
    boot(config)


def test_memory_reaches_beyond_the_first_chunk() -> None:
    config = guessed(ALLOC, base=ARCHES["x86-64", 4].direct_map_addr + (9 << 30))
    assert max(memory.last for memory in config.nodes[0].memory) >= 9 << 30
    for base in (None, 0, 1 << 63, (1 << 64) - 4096):
        assert guessed(ALLOC, base=base).nodes[0].nr_pages == 1 << 20


def test_more_cpus_than_any_machine_has_are_cut() -> None:
    config = guessed(ALLOC._replace(bytes_alloc=8 * 100_000 + 16))
    assert len(config.cpus.possible) == CPUS_MAX
