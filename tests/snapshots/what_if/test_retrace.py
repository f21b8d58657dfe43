"""A run read back as a program: who was given to an idle machine, and whose results are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from snapshots.what_if.program import finished
from snapshots.what_if.retrace import program_of
from tests.snapshots.conftest import (
    CONFIGS,
    GFP_KERNEL,
    SCHEDULES,
    Action,
    events_of,
    inputs_of,
    recorded,
    small_config,
)

OBJECTS = Path(__file__).parents[2] / "modules" / "objects"
LAWS = settings(max_examples=60, deadline=None)
ASK = (64, 8, False, GFP_KERNEL, "here")


@LAWS
@given(CONFIGS, SCHEDULES)
def test_reading_a_program_makes_the_same_run_again(
    config: MachineConfig, actions: list[Action]
) -> None:
    timeline = recorded(config, actions)
    step = timeline.step
    program, machine = finished(program_of(timeline))
    assert state_digest(machine) == state_digest(timeline.machine)
    assert machine.events == events_of(timeline)
    assert [(row.step, row.do, row.args) for row in program.rows] == [
        (each.step, each.do, each.args) for each in inputs_of(timeline)
    ]
    assert timeline.step == step


def test_rows_know_when_the_machine_was_idle() -> None:
    timeline = Timeline(boot(small_config(cpus=3)))
    for cpu in (0, 1):
        timeline.give("pcpu_alloc", cpu, ASK)
    timeline.advance(3)
    timeline.give("pcpu_alloc", 2, ASK)
    timeline.advance(NO_LIMIT)
    timeline.give("purge_vmap", 0)
    timeline.give("pcpu_alloc", 0, ASK)
    timeline.advance(NO_LIMIT)
    program, _ = finished(program_of(timeline))
    assert [row.when_idle for row in program.rows] == [True, False, False, True, False]
    assert [row.stretch for row in program.rows] == [0, 0, 0, 3, 3]
    assert program.tail_steps is None


def test_a_run_that_could_go_on_tells_how_far_it_went() -> None:
    timeline = Timeline(boot(small_config()))
    timeline.give("pcpu_alloc", 0, ASK)
    timeline.advance(2)
    program, _ = finished(program_of(timeline))
    assert program.tail_steps == 2


def test_results_are_named_only_once_they_are_known() -> None:
    """The pointer is the one that the call under way will return: nobody can mean it yet."""
    timeline = Timeline(boot(small_config()))
    first = timeline.give("pcpu_alloc", 0, ASK)
    timeline.advance(NO_LIMIT)
    ptr = int(str(timeline.calls[first].result))
    other = Timeline(boot(small_config()))
    other.give("pcpu_alloc", 0, ASK)
    other.advance(1)
    other.give("this_cpu_write", 1, (ptr, 1, 8))
    other.advance(NO_LIMIT)
    other.give("this_cpu_write", 1, (ptr + 4, 1, 4))
    other.advance(NO_LIMIT)
    program, _ = finished(program_of(other))
    assert program.rows[1].references == ()
    assert program.rows[2].references[0][1:2] == (0,)
    assert program.results == {0: ptr}


@pytest.mark.skipif(not list(OBJECTS.glob("*")), reason="no objects")
def test_a_module_is_named_by_what_its_file_says() -> None:
    image = (Path(__file__).parents[3] / "examples" / "modules" / "hits.o").read_bytes()
    config = MachineConfig.from_mapping(
        small_config().to_mapping()
        | {"percpu": {"static_bytes": 4096, "reserved_bytes": 8192, "dynamic_bytes": 12288}},
        where="x",
    )
    timeline = Timeline(boot(config))
    timeline.give("load_module", 0, (image, "hits", ""))
    timeline.advance(NO_LIMIT)
    timeline.give("delete_module", 0, ("hits",))
    timeline.advance(NO_LIMIT)
    assert timeline.calls[0].result == 0
    program, _ = finished(program_of(timeline))
    assert [each.producer for each in program.rows[1].references] == [0]
