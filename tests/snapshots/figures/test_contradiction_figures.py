"""Both sides of a contradiction are run; who mends the old code by accident is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_sim.percpu.area_vm_v1 import AreaVmV1Backing
from snapshots.figures import contradiction_figures as contradictions
from snapshots.figures.bench import Bench
from snapshots.figures.inputs import AS_MAILED

ALL = (contradictions.not_zeroed, contradictions.overrun, contradictions.neighbours)


def test_posted_code_and_what_was_meant() -> None:
    figures = [measure(Bench(AS_MAILED)) for measure in ALL]
    assert [(each.ours, each.beside[0].ours) for each in figures] == [(1, 0), (64, 16), (4, 0)]
    assert all(each.is_measured_right for each in figures)


@pytest.mark.parametrize("module_variables", [1, 5, 64])
def test_the_overrun_grows_with_the_variables(module_variables: int) -> None:
    figure = contradictions.overrun(Bench(replace(AS_MAILED, module_variables=module_variables)))
    assert (figure.ours, figure.is_measured_right) == (4 * module_variables, True)


def test_an_error_path_that_spares_neighbours_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(AreaVmV1Backing, "pcpu_depopulate_chunk", nothing)
    figure = contradictions.neighbours(Bench(AS_MAILED))
    assert (figure.ours, figure.is_measured_right) == (0, False)
