"""Inputs are the mails' until one is moved, and what cannot be is refused by name."""

from __future__ import annotations

from dataclasses import fields

import pytest

from kernel_sim.errors import ConfigError
from snapshots.figures.inputs import AS_MAILED, FigureInputs, input_rows, moved_inputs, read_inputs


def test_without_settings_the_inputs_are_the_mails() -> None:
    assert read_inputs([]) == AS_MAILED == FigureInputs()
    assert moved_inputs(AS_MAILED) == []


def test_settings_move_inputs_and_are_told_back() -> None:
    settings = ["static_bytes=20000", "line_bytes=32,64", "km_layouts=4x36,5x64"]
    inputs = read_inputs(settings)
    assert inputs.static_bytes == 20000
    assert inputs.line_bytes == (32, 64)
    assert inputs.km_layouts == ((4, 36), (5, 64))
    assert moved_inputs(inputs) == settings


def test_every_input_has_a_value_within_its_own_limits_and_a_meaning() -> None:
    rows = input_rows(AS_MAILED)
    assert [name for name, _, _ in rows] == [each.name for each in fields(FigureInputs)]
    for name, value, meaning in rows:
        assert meaning
        assert read_inputs([f"{name}={value}"]) == AS_MAILED


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("static=1", "no input 'static'"),
        ("static_bytes", "expected NAME=VALUE"),
        ("static_bytes=", "expected a number from 64 to 262144"),
        ("static_bytes=-1", "expected a number"),
        ("static_bytes=63", "expected a number from 64"),
        ("static_bytes=²", "expected a number"),
        ("static_bytes=" + "9" * 5000, "expected a number"),
        ("line_bytes=32,x", "line_bytes=x"),
        ("line_bytes=" + "32," * 20 + "32", "expected at most 12"),
        ("km_layouts=4", "expected UNITSxKIB"),
        ("km_layouts=0x4", "km_layouts=0"),
        ("refill_smallest_bytes=100", "at most refill_largest_bytes, 64"),
        ("small_box_cpus=9", "at most nr_cpus, 8"),
    ],
)
def test_what_cannot_be_is_refused(setting: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected.replace("²", ".")):
        read_inputs([setting])
