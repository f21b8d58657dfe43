from __future__ import annotations

from kernel_sim.same_state import is_same


def test_a_row_from_a_file_is_the_row_that_was_dumped() -> None:
    assert is_same({"a": [1, (2, [3])]}, {"a": (1, [2, (3,)])})


def test_order_of_keys_counts_and_so_does_every_value() -> None:
    assert not is_same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not is_same([1, 2], [1])
    assert not is_same((1, 2), (1, 3))
