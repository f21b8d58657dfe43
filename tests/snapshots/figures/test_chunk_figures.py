"""The mail's area is where it should be in every unit, wherever it is put and however large units are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_HIGHMEM
from kernel_sim.mm.page_lists import GFP_COLD
from kernel_sim.percpu import area_memory
from snapshots.figures import chunk_figures as chunks
from snapshots.figures.bench import Bench
from snapshots.figures.figure import AGREE
from snapshots.figures.inputs import AS_MAILED

ALL = (chunks.place, chunks.size, chunks.units, chunks.bases, chunks.flags)


def test_the_mail_of_february_2009() -> None:
    bench = Bench(AS_MAILED)
    figures = [measure(bench) for measure in ALL]
    assert [each.ours for each in figures] == [6144, 512, 4, (131072, 262144, 393216), 8]
    assert {each.verdict(with_mail=True) for each in figures} == {AGREE}
    beside = {one.name: one.ours for each in figures for one in each.beside}
    assert (beside["chunk"], beside["end"]) == (1, 6656)
    assert (beside["its first page in the unit"], beside["pages behind its copies"]) == (1, 4)


@pytest.mark.parametrize(
    ("area_linear_bytes", "area_bytes", "unit_bytes", "nr_units"),
    [
        (131072, 4, 131072, 2),  # the very beginning of c1
        (262140, 4, 131072, 1),  # its very end
        (300000, 512, 131072, 3),  # in c2, behind a full c1
        (70000, 4096, 65536, 4),  # over the end of a page
    ],
)
def test_other_areas_are_found_too(
    area_linear_bytes: int, area_bytes: int, unit_bytes: int, nr_units: int
) -> None:
    inputs = replace(
        AS_MAILED, area_linear_bytes=area_linear_bytes, area_bytes=area_bytes,
        unit_bytes=unit_bytes, nr_units=nr_units,
    )  # fmt: skip
    bench = Bench(inputs)
    for measure in ALL:
        figure = measure(bench)
        assert figure.is_measured_right, figure.reason(with_mail=False)


@pytest.mark.parametrize("area_linear_bytes", [65536, 131071, 131073, 262144 - 4])
def test_a_place_where_no_area_can_be_is_refused(area_linear_bytes: int) -> None:
    inputs = replace(AS_MAILED, area_linear_bytes=area_linear_bytes)
    with pytest.raises(ConfigError, match="c0 has the static variables"):
        chunks.place(Bench(inputs))


def test_pages_that_are_not_cold_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    both = GFP_HIGHMEM | GFP_COLD
    name = next(name for name, value in vars(area_memory).items() if value and _has(value, both))
    monkeypatch.setattr(area_memory, name, getattr(area_memory, name) & ~GFP_COLD)
    figure = chunks.flags(Bench(AS_MAILED))
    assert not figure.is_measured_right
    assert figure.mail is not None and figure.mail.redone == "HIGHMEM"


def _has(value: object, bits: int) -> bool:
    return isinstance(value, int) and value & bits == bits
