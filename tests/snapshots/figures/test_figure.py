"""A row is right only if machine, formula and the mail's own arithmetic agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapshots.figures.figure import AGREE, DIFFERS, OFF, Beside, Figure, MailFigure, shown_value

RIGHT = Figure(
    what="room", system="legacy-static", unit="bytes", formula="2 x 10", exact=20, ours=20,
    command="kmemscope", shows=("20",), mail=MailFigure("20", "20", 20),
)  # fmt: skip


def test_a_right_row_agrees() -> None:
    assert RIGHT.verdict(with_mail=True) == AGREE
    assert RIGHT.reason(with_mail=True) == ""


@pytest.mark.parametrize("with_mail", [True, False])
def test_a_machine_that_shows_another_value_is_off(with_mail: bool) -> None:
    figure = replace(RIGHT, ours=21)
    assert figure.verdict(with_mail=with_mail) == OFF
    assert figure.reason(with_mail=with_mail) == "room: the machine shows 21, the inputs come to 20"


def test_a_value_beside_it_counts_as_much() -> None:
    figure = replace(RIGHT, beside=(Beside("lost", 1, 1), Beside("free", 3, 4)))
    assert figure.verdict(with_mail=True) == OFF
    assert figure.reason(with_mail=True) == "free: the machine shows 4, the inputs come to 3"


def test_a_mail_whose_arithmetic_gives_something_else_is_off_unless_inputs_were_moved() -> None:
    figure = replace(RIGHT, mail=MailFigure("20", "19", 19))
    assert figure.verdict(with_mail=True) == OFF
    assert figure.reason(with_mail=True) == "the mail prints 20, its arithmetic gives 19"
    assert figure.verdict(with_mail=False) == AGREE


def test_a_rounded_mail_differs_for_a_reason() -> None:
    figure = replace(RIGHT, mail=MailFigure("1K", "1K", 1024), because="it rounds")
    assert figure.verdict(with_mail=True) == DIFFERS
    assert figure.reason(with_mail=True) == "it rounds"
    assert figure.verdict(with_mail=False) == AGREE


def test_values_for_several_inputs_are_listed() -> None:
    assert shown_value((1, 22)) == "1, 22"
    assert shown_value(7) == "7"
