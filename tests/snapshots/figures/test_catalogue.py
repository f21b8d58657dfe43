"""Every figure of the list: right on the mails' inputs, and moved by an input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from snapshots.figures.bench import Bench
from snapshots.figures.catalogue import FIGURES, figures_of, numbers_of
from snapshots.figures.figure import OFF
from snapshots.figures.inputs import AS_MAILED, read_inputs

MOVED_BY = {
    "1": "enough_room_bytes=40000",
    "2": "static_bytes=20000",
    "3": "static_bytes=20000",
    "4": "small_box_cpus=3",
    "5": "large_box_cpus=10",
    "6": "line_bytes=32,64",
    "7": "offset_section_bytes=8000",
    "8": "offset_section_bytes=8000",
    "9": "small_box_cpus=3",
    "10": "nr_cpus=5",
    "11": "nr_cpus=5",
    "12": "large_box_cpus=10",
    "13": "nr_cpus=255",
    "14": "nr_cpus=255",
    "15": "many_nr_cpus=300",
    "16": "refill_blocks=2",
    "18": "area_linear_bytes=140000",
    "19": "area_bytes=1024",
    "20": "nr_units=3",
    "21": "unit_bytes=65536",
    "22": "area_linear_bytes=147456",
    "23": "km_layouts=4x36,3x40",
    "P4": "km_layouts=4x36,3x40",
    "X2": "module_variables=5",
    "X3": "nr_units=3",
    "25": "static_bytes=20000",
    "26": "static_bytes=21000",
}
FIXED = {  # by the code of the day alone; that they notice another code is tested with their families
    "17",
    "R1",
    "R2",
    "R3",
    "R4",
    "R5",
    "24",
    "R6",
    "R7",
    "R8",
    "R9",
    "P1",
    "P2",
    "P3",
    "X1",
    "C1",
    "C2",
    "C3",
    "C4",
    "C5",
    "C6",
}


def params(numbers: Iterable[str]) -> list[object]:
    """Return the numbers; what takes seconds is marked, and is measured by the verb's test anyway."""
    return [
        pytest.param(number, marks=pytest.mark.slow) if number == "16" else number
        for number in numbers
    ]


@pytest.mark.parametrize("number", params(FIGURES))
def test_a_figure_is_right_and_says_why_it_differs(number: str) -> None:
    figure = FIGURES[number](Bench(AS_MAILED))
    assert figure.verdict(with_mail=True) != OFF, figure.reason(with_mail=True)
    assert bool(figure.because) == figure.differs
    assert figure.what and figure.system and figure.unit and figure.formula
    assert figure.command.startswith("kmemscope ")


@pytest.mark.parametrize("number", params(number for number in FIGURES if number not in FIXED))
def test_an_input_moves_the_figure(number: str) -> None:
    before = FIGURES[number](Bench(AS_MAILED))
    after = FIGURES[number](Bench(read_inputs([MOVED_BY[number]])))
    assert after.ours != before.ours
    assert after.is_measured_right, after.reason(with_mail=False)


def test_rows_come_in_order_with_their_numbers() -> None:
    assert numbers_of([]) == tuple(FIGURES)
    assert numbers_of(["12", "3", "3"]) == ("3", "12")
    assert [each.number for each in figures_of(AS_MAILED, ("2", "12"))] == ["2", "12"]


def test_there_is_no_such_figure() -> None:
    with pytest.raises(ConfigError, match="no figure '99'; expected some of 1 2 3"):
        numbers_of(["1", "99"])


def test_an_input_that_no_machine_can_have_is_told_with_the_figure() -> None:
    inputs = replace(AS_MAILED, usual_line_bytes=100)
    with pytest.raises(ConfigError, match=r"figure 3: legacy-1cpu: .*power of two"):
        figures_of(inputs, ("3",))


@pytest.mark.slow
@given(
    static_bytes=st.integers(16, 20000).map(lambda words: 4 * words),
    offset_section_bytes=st.integers(1, 12000).map(lambda words: 4 * words),
    enough_room_bytes=st.integers(512, 100000),
    usual_line_bytes=st.sampled_from((16, 32, 64, 128)),
    nr_cpus=st.integers(2, 100),
    small_box_cpus=st.integers(2, 6),
    area_linear_bytes=st.integers(32768, 60000).map(lambda words: 4 * words),
    nr_units=st.integers(2, 6),
    refill_seed=st.integers(0, 1000),
)
@settings(max_examples=8, deadline=None)
def test_all_figures_follow_all_inputs(**moved: int) -> None:
    inputs = replace(AS_MAILED, large_box_cpus=7, **moved)  # type: ignore[arg-type]
    assume(inputs.small_box_cpus <= inputs.nr_cpus)
    assume(inputs.area_linear_bytes % inputs.unit_bytes <= inputs.unit_bytes - inputs.area_bytes)
    for number in FIGURES:
        if number != "16":
            figure = figures_of(inputs, (number,))[0]
            assert not figure.is_off(with_mail=False), (number, figure.reason(with_mail=False))
