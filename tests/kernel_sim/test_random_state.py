from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.random_state import RandomState

# What the generator's own demo program prints for seed 42, sequence 54.
DEMO = [0xA15C02B7, 0x7B47F409, 0xBA1D3330, 0x83D2F293, 0xBFA4784B, 0xCBED606E]

seeds = st.integers(0, 2**64 - 1)


def test_the_first_numbers_are_those_of_the_published_demo() -> None:
    generator = RandomState.from_seed(42, stream=54)
    assert [generator.next_u32() for _ in DEMO] == DEMO


@given(seeds)
def test_two_ints_carry_the_whole_future(seed: int) -> None:
    generator = RandomState.from_seed(seed)
    generator.next_u32()
    copy = RandomState(generator.state, generator.increment)
    assert [generator.next_u32() for _ in range(5)] == [copy.next_u32() for _ in range(5)]


@given(seeds, st.integers(1, 2**32))
def test_below_stays_below(seed: int, limit: int) -> None:
    generator = RandomState.from_seed(seed)
    assert all(0 <= generator.below(limit) < limit for _ in range(8))


def test_below_reaches_every_number_about_equally_often() -> None:
    generator = RandomState.from_seed(7)
    counts = [0] * 6
    for _ in range(6000):
        counts[generator.below(6)] += 1
    assert all(900 < count < 1100 for count in counts)


def test_below_draws_again_what_would_favour_low_numbers() -> None:
    limit = 3 << 30  # 2**32 % limit is 2**30: a quarter of all draws must go
    generator = RandomState.from_seed(1)
    plain = RandomState.from_seed(1)
    kept = [number % limit for _ in range(40) if (number := plain.next_u32()) >= 1 << 30]
    assert len(kept) < 40
    assert [generator.below(limit) for _ in kept] == kept


def test_streams_of_one_seed_differ() -> None:
    one, other = RandomState.from_seed(5, stream=1), RandomState.from_seed(5, stream=2)
    assert [one.next_u32() for _ in range(4)] != [other.next_u32() for _ in range(4)]


@pytest.mark.parametrize("limit", [0, -1, 2**32 + 1])
def test_below_refuses_an_impossible_limit(limit: int) -> None:
    with pytest.raises(ValueError, match="expected a limit from 1"):
        RandomState.from_seed(1).below(limit)
