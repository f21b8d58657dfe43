"""What may not differ does not; where something is forgotten on the way back, it is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.percpu.block_percpu import BlockPercpu
from kernel_sim.percpu.vm_hybrid import HybridAreas
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


def test_a_cpu_that_comes_has_the_image_and_pages_of_its_node() -> None:
    figure = properties.hot_added(Bench(AS_MAILED))
    assert (figure.ours, figure.is_measured_right) == (0, True)
    assert {each.name: each.ours for each in figure.beside}["pages on the CPU's node"] == 5


def test_an_image_that_is_not_copied_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: HybridAreas, cpu: int, coming: int, area: int) -> None:
        pass

    monkeypatch.setattr(HybridAreas, "_copy_images", nothing)
    figure = properties.hot_added(Bench(AS_MAILED))
    assert not figure.is_measured_right
    assert isinstance(figure.ours, int) and figure.ours > 100


def test_units_have_the_same_pages_after_any_work() -> None:
    for seed in (1, 2, 3):
        figure = properties.in_unison(Bench(replace(AS_MAILED, refill_seed=seed)))
        assert figure.is_measured_right, figure.reason(with_mail=False)
        assert figure.beside[0].ours != 0


def test_a_page_that_only_one_unit_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def some_gone(space: KernelAddressSpace, virt: int) -> int | None:
        phys = translate(space, virt)
        return None if phys is not None and virt in lost else phys

    figure = properties.in_unison(Bench(AS_MAILED))
    assert figure.run is not None
    stretches = figure.run.machine.system.stretches()
    lost = [next(each.addr for each in stretches if each.strip == "chunk 1, unit of cpu 2")]
    translate = KernelAddressSpace.translate
    monkeypatch.setattr(KernelAddressSpace, "translate", some_gone)
    assert properties.in_unison(Bench(AS_MAILED)).ours == 1
