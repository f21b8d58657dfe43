"""Rounding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.alignment import align_down, align_up, div_ceil, is_power_of_two, trailing_zeros

BOUNDARIES = st.integers(1, 1 << 30)


@given(st.integers(0, 1 << 64), BOUNDARIES)
def test_the_value_lies_between_its_two_roundings(value: int, boundary: int) -> None:
    low, high = align_down(value, boundary), align_up(value, boundary)
    assert low % boundary == high % boundary == 0
    assert low <= value <= high < low + 2 * boundary
    assert (low == high) == (value % boundary == 0)
    assert div_ceil(value, boundary) * boundary == high


@given(st.integers(0, 70))
def test_powers_of_two_are_those_of_one_bit(shift: int) -> None:
    assert is_power_of_two(1 << shift)
    assert trailing_zeros(1 << shift) == shift
    assert not is_power_of_two((1 << shift) + (1 << shift + 1))


def test_neither_0_nor_a_negative_number_is_a_power_of_two() -> None:
    assert not is_power_of_two(0)
    assert not is_power_of_two(-4)


@given(st.integers(1, 1 << 200))
def test_trailing_zeros_count_how_often_two_divides(value: int) -> None:
    zeros = trailing_zeros(value)
    assert value % (1 << zeros) == 0 and value >> zeros & 1
