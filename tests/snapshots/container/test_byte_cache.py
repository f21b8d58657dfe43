"""The byte cache against an obvious model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snapshots.container.byte_cache import ByteCache

actions = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 12)), max_size=40)


@given(actions)
def test_it_keeps_the_newest_that_fit(steps: list[tuple[bool, int, int]]) -> None:
    cache = ByteCache(20)
    model: list[tuple[int, bytes]] = []  # the one used last stands last
    for is_put, name, length_bytes in steps:
        known = dict(model)
        if is_put:
            known.pop(name, None)
            model = [*known.items(), (name, bytes(length_bytes))]
            cache.keep(name, bytes(length_bytes))
            while sum(len(data) for _, data in model) > 20:
                model.pop(0)
        else:
            assert cache.find(name) == known.get(name)
            if name in known:
                data = known.pop(name)
                model = [*known.items(), (name, data)]
        assert cache.used_bytes == sum(len(data) for _, data in model)


def test_a_piece_larger_than_the_budget_drives_nothing_out() -> None:
    cache = ByteCache(10)
    cache.keep("small", b"12345")
    cache.keep("large", bytes(11))
    assert (cache.find("small"), cache.find("large")) == (b"12345", None)
