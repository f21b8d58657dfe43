"""Every figure of the list: right on the mails' inputs, and moved by an input."""

from __future__ import annotations

import pytest

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
    "R6",
    "R9",
    "P1",
    "P2",
    "C1",
    "C2",
    "C3",
    "C4",
    "C5",
    "C6",
}


@pytest.mark.parametrize("number", FIGURES)
def test_a_figure_is_right_and_says_why_it_differs(number: str) -> None:
    figure = FIGURES[number](Bench(AS_MAILED))
    assert figure.verdict(with_mail=True) != OFF, figure.reason(with_mail=True)
    assert bool(figure.because) == figure.differs
    assert figure.what and figure.system and figure.unit and figure.formula
    assert figure.command.startswith("kmemscope ")


@pytest.mark.parametrize("number", [number for number in FIGURES if number not in FIXED])
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
