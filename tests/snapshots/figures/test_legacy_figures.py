"""Figures of the static areas follow sections, rooms and cache lines, also where rounding matters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.figures import legacy_figures as legacy
from snapshots.figures.bench import Bench
from snapshots.figures.figure import DIFFERS
from snapshots.figures.inputs import AS_MAILED

ALL = (
    legacy.enough_room, legacy.static_section, legacy.spare_of_one, legacy.spare_of_two,
    legacy.spare_of_many, legacy.default_cpus, legacy.example_cpus,
)  # fmt: skip


def test_the_mail_of_april_2006() -> None:
    bench = Bench(AS_MAILED)
    values = [measure(bench).ours for measure in ALL]
    assert values == [32768, 17892, 14876, 29752, 952064, 8, 64]
    assert legacy.spare_of_many(bench).verdict(with_mail=True) == DIFFERS


def test_a_module_gets_less_than_the_mail_suggests() -> None:
    figure = legacy.largest_module(Bench(AS_MAILED))
    assert figure.ours == (14848, 14848, 14848)
    assert [each.ours for each in figure.beside] == [(28, 28, 28)]


@pytest.mark.parametrize(
    ("line_bytes", "largest_bytes"), [((32,), (12768,)), ((64, 128), (12736, 12672))]
)
def test_the_largest_module_follows_the_cache_line(
    line_bytes: tuple[int, ...], largest_bytes: tuple[int, ...]
) -> None:
    inputs = replace(AS_MAILED, static_bytes=20000, line_bytes=line_bytes)
    figure = legacy.largest_module(Bench(inputs))
    assert figure.ours == largest_bytes
    assert figure.is_measured_right


@given(
    static_bytes=st.integers(64, 40000),
    enough_room_bytes=st.integers(512, 40000),
    usual_line_bytes=st.sampled_from((16, 32, 64, 128)),
    small_box_cpus=st.integers(2, 8),
)
@settings(max_examples=20, deadline=None)
def test_machine_and_formula_agree_on_other_inputs_too(
    static_bytes: int, enough_room_bytes: int, usual_line_bytes: int, small_box_cpus: int
) -> None:
    inputs = replace(
        AS_MAILED, static_bytes=static_bytes, enough_room_bytes=enough_room_bytes,
        usual_line_bytes=usual_line_bytes, small_box_cpus=small_box_cpus, large_box_cpus=9,
        nr_cpus=3,
    )  # fmt: skip
    bench = Bench(inputs)
    for measure in ALL:
        figure = measure(bench)
        assert figure.is_measured_right, figure.reason(with_mail=False)
