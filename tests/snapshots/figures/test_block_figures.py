"""Management pages follow NR_CPUS and pointer size, utilisation follows the workload."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapshots.figures.bench import Bench
from snapshots.figures.block_figures import (
    mailed_pages,
    management,
    management_pages,
    many_cpus,
    most_cpus,
    stack,
    utilisation,
)
from snapshots.figures.figure import AGREE, DIFFERS
from snapshots.figures.inputs import AS_MAILED


@pytest.mark.parametrize(
    ("word_bytes", "pages"), [(4, (9, 9, 9, 10, 11)), (8, (15, 15, 16, 17, 19))]
)
def test_pages_are_those_of_the_reference_table(word_bytes: int, pages: tuple[int, ...]) -> None:
    at = (8, 64, 128, 255, 512)
    assert tuple(management_pages(word_bytes, nr_cpus) for nr_cpus in at) == pages


def test_238_cpus_are_the_most_that_nine_pages_hold() -> None:
    assert (management_pages(4, 238), management_pages(4, 239)) == (9, 10)
    assert mailed_pages(4) == 9
    assert most_cpus(9) == 238


def test_the_mail_of_january_2005() -> None:
    bench = Bench(AS_MAILED)
    assert (management(bench).ours, management(bench).verdict(with_mail=True)) == (9, AGREE)
    assert (stack(bench).ours, stack(bench).verdict(with_mail=True)) == (36, AGREE)
    figure = many_cpus(bench)
    assert (figure.ours, figure.verdict(with_mail=True)) == (44, DIFFERS)
    assert figure.mail is not None and figure.mail.redone == "36 bytes"


@pytest.mark.parametrize("nr_cpus", [2, 3, 5, 100, 239, 255])
def test_machine_and_formula_agree_on_other_builds(nr_cpus: int) -> None:
    bench = Bench(replace(AS_MAILED, nr_cpus=nr_cpus, many_nr_cpus=2 * nr_cpus))
    for figure in (management(bench), stack(bench), many_cpus(bench)):
        assert figure.is_measured_right, figure.reason(with_mail=False)


def test_larger_objects_use_less_on_machine_and_lists_alike() -> None:
    small = replace(AS_MAILED, refill_blocks=2, refill_rounds=2)
    large = replace(small, refill_largest_bytes=1024)
    figures = [utilisation(Bench(inputs)) for inputs in (small, large)]
    assert all(figure.is_measured_right for figure in figures)
    assert figures[0].exact > figures[1].exact  # type: ignore[operator]
