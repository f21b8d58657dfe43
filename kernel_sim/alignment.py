"""Rounding, as the kernel does it: sizes up to a boundary, addresses down to one."""

from __future__ import annotations


def is_power_of_two(value: int) -> bool:
    """Say whether value is 1, 2, 4, 8 …"""
    return value > 0 and value & (value - 1) == 0


def align_down(value: int, boundary: int) -> int:
    """Return the highest multiple of boundary that is not above value."""
    return value - value % boundary


def align_up(value: int, boundary: int) -> int:
    """Return the lowest multiple of boundary that is not below value."""
    return -(-value // boundary) * boundary


def div_ceil(value: int, divisor: int) -> int:
    """Return value / divisor, rounded up."""
    return -(-value // divisor)


def trailing_zeros(value: int) -> int:
    """Return the number of the lowest set bit.

    value must not be 0: the kernel's __ffs() is undefined there, too.
    """
    return (value & -value).bit_length() - 1
