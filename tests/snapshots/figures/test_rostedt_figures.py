"""What the proposals of 2006 save follows room, section and cache line of the build."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots.figures import rostedt_figures as rostedt
from snapshots.figures.bench import Bench
from snapshots.figures.figure import AGREE, DIFFERS
from snapshots.figures.inputs import AS_MAILED

SAVED = (rostedt.saved_on_first, rostedt.saved_on_two, rostedt.saved_on_default)


def test_the_section_of_the_mails_build() -> None:
    figure = rostedt.offset_section(Bench(AS_MAILED))
    assert (figure.ours, figure.beside[0].ours) == (4368, 1092)
    assert figure.verdict(with_mail=True) == AGREE


def test_what_the_mail_of_april_2006_saves() -> None:
    bench = Bench(AS_MAILED)
    figures = [measure(bench) for measure in SAVED]
    assert [each.ours for each in figures] == [10508, 25384, 114640]
    assert [each.beside[0].ours for each in figures] == [10480, 25328, 114416]
    assert [each.mail and each.mail.redone for each in figures] == ["10K", "24K", "108K"]
    assert {each.verdict(with_mail=True) for each in figures} == {DIFFERS}


@pytest.mark.parametrize("offset_section_bytes", [4, 400, 40000])
def test_a_large_section_may_cost_more_than_the_room(offset_section_bytes: int) -> None:
    inputs = replace(AS_MAILED, offset_section_bytes=offset_section_bytes)
    figure = rostedt.saved_on_first(Bench(inputs))
    assert figure.ours == 14876 - offset_section_bytes
    assert figure.is_measured_right


@pytest.mark.parametrize(
    ("static_bytes", "area_bytes", "in_lines_bytes"),
    [(17892, 20480, 2560), (4096, 4096, 0), (4097, 8192, 3968), (64, 4096, 3968)],
)
def test_slack_and_window_follow_the_section(
    static_bytes: int, area_bytes: int, in_lines_bytes: int
) -> None:
    bench = Bench(replace(AS_MAILED, static_bytes=static_bytes))
    slack, window = rostedt.slack(bench), rostedt.window(bench)
    assert (slack.ours, slack.beside[0].ours) == (area_bytes - static_bytes, in_lines_bytes)
    assert window.ours == area_bytes
    assert slack.is_measured_right and window.is_measured_right


@given(
    static_bytes=st.integers(16, 10000).map(lambda words: 4 * words),
    enough_room_bytes=st.integers(512, 40000),
    usual_line_bytes=st.sampled_from((32, 64, 128)),
    nr_cpus=st.integers(2, 8),
)
@settings(max_examples=15, deadline=None)
def test_machines_and_formulas_agree_on_other_inputs_too(
    static_bytes: int, enough_room_bytes: int, usual_line_bytes: int, nr_cpus: int
) -> None:
    inputs = replace(
        AS_MAILED, static_bytes=static_bytes, enough_room_bytes=enough_room_bytes,
        usual_line_bytes=usual_line_bytes, nr_cpus=nr_cpus,
    )  # fmt: skip
    bench = Bench(inputs)
    for measure in SAVED:
        figure = measure(bench)
        assert figure.is_measured_right, figure.reason(with_mail=False)
