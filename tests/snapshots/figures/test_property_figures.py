"""What may not differ does not; where something is forgotten on the way back, it is counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kernel_sim.percpu.block_percpu import BlockPercpu
from snapshots.figures import property_figures as properties
from snapshots.figures.bench import Bench
from snapshots.figures.inputs import AS_MAILED


def test_every_page_of_a_block_can_fail_and_none_is_left() -> None:
    figure = properties.unwinding(Bench(AS_MAILED))
    assert (figure.ours, figure.is_measured_right) == (0, True)
    assert figure.beside[0].ours == 9 + 2 * 2


def test_a_page_that_is_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    give_back = BlockPercpu.free_pages

    def forgetful(self: BlockPercpu, cpu: int, pfns: Sequence[int]) -> None:
        give_back(self, cpu, list(pfns[1:]))

    monkeypatch.setattr(BlockPercpu, "free_pages", forgetful)
    figure = properties.unwinding(Bench(AS_MAILED))
    assert not figure.is_measured_right
    assert (
        figure.ours == 8 + 4 + 3
    )  # one at each failure that had management or CPU pages to give back
