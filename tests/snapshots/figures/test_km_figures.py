"""Blocks of kernel memory are powers of two, whatever the units; a second group is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_sim.percpu.area_km import AreaKmBacking
from snapshots.figures.bench import Bench
from snapshots.figures.figure import AGREE, OFF
from snapshots.figures.inputs import AS_MAILED
from snapshots.figures.km_figures import (
    block_of,
    most_wasteful,
    pages_of,
    two_groups,
    upfront,
    waste,
)


def test_the_table_of_layouts() -> None:
    bench = Bench(AS_MAILED)
    figure = waste(bench)
    assert figure.ours == (0, 8, 28, 0, 48, 64, 7)
    assert figure.beside[0].ours == figure.ours
    assert upfront(bench).ours == (16, 32, 64, 64, 128, 256, 16)
    assert upfront(bench).beside[0].ours == (0,) * 7


@pytest.mark.parametrize("layouts", [((7, 44), (2, 128)), ((16, 64),), ((3, 20), (9, 52))])
def test_other_layouts_agree_too(layouts: tuple[tuple[int, int], ...]) -> None:
    bench = Bench(replace(AS_MAILED, km_layouts=layouts))
    for figure in (waste(bench), upfront(bench)):
        assert figure.is_measured_right, figure.reason(with_mail=False)


def test_arithmetic_of_blocks() -> None:
    assert (pages_of((4, 36)), block_of((4, 36)), block_of((4, 64)), block_of((1, 4))) == (
        36, 64, 64, 1,
    )  # fmt: skip
    assert most_wasteful(AS_MAILED.km_layouts) == (6, 128)


def test_two_groups_are_refused_with_the_mails_words() -> None:
    figure = two_groups(Bench(AS_MAILED))
    assert (figure.ours, figure.verdict(with_mail=True)) == (-22, AGREE)


def test_a_larger_block_than_needed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    order = AreaKmBacking.order.fget
    assert order is not None
    monkeypatch.setattr(AreaKmBacking, "order", property(lambda self: order(self) + 1))
    assert waste(Bench(AS_MAILED)).verdict(with_mail=True) == OFF
