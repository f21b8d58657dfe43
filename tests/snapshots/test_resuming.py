"""Inputs behind the newest segment are given again, as a killed writer's tail holds them."""

from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.inputs import Input
from snapshots.resuming import resume
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tests.snapshots.conftest import BUSY, inputs_of, recorded, small_config

CONFIG = small_config(cpus=4)


@pytest.mark.parametrize("nr_known", [0, 3, 9])
def test_a_run_resumed_anywhere_is_the_run_that_was(nr_known: int) -> None:
    whole = recorded(CONFIG, BUSY)
    inputs = inputs_of(whole)
    timeline = Timeline(boot(CONFIG))
    resume(timeline, inputs[:nr_known], inputs[nr_known].step)
    resume(timeline, inputs[nr_known:], whole.end_step)
    assert (timeline.end_step, inputs_of(timeline)) == (whole.end_step, inputs)
    assert state_digest(timeline.machine) == state_digest(whole.machine)
    assert timeline.nr_events == whole.nr_events


def test_an_input_that_is_refused_was_refused_then_too() -> None:
    whole = recorded(CONFIG, BUSY)
    inputs = inputs_of(whole)
    timeline = Timeline(boot(CONFIG))
    bad = Input(inputs[5].step, "purge_vmap", 77)
    resume(timeline, [*inputs[:5], bad, *inputs[5:]], whole.end_step)
    assert inputs_of(timeline) == inputs
    assert state_digest(timeline.machine) == state_digest(whole.machine)


def test_inputs_beyond_where_the_run_comes_to_are_left_out() -> None:
    timeline = Timeline(boot(CONFIG))
    resume(timeline, [Input(0, "purge_vmap", 0), Input(1 << 40, "purge_vmap", 0)], 1 << 40)
    assert [given.step for given in inputs_of(timeline)] == [0]
    assert timeline.end_step == timeline.machine.step
