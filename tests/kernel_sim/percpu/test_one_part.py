from __future__ import annotations

from dataclasses import dataclass

import pytest

from kernel_sim.errors import KernelBug
from kernel_sim.percpu.one_part import (
    PART,
    differing_part,
    dump_one_part,
    unnoticed_in_one_part,
)


@dataclass(slots=True)
class Counter:
    count: int = 0


def test_what_did_not_change_is_the_same_object() -> None:
    counter = Counter(3)
    first = dump_one_part(lambda: counter, {}, is_changed=True)
    assert first == {PART: {"count": 3}}
    assert dump_one_part(lambda: counter, first, is_changed=False)[PART] is first[PART]
    assert dump_one_part(lambda: counter, first, is_changed=True)[PART] is not first[PART]


def test_only_another_state_is_loaded() -> None:
    here, there = {PART: {"count": 3}}, {PART: {"count": 3}}
    assert differing_part(here, here, "x", is_changed=False) is None
    assert differing_part(here, here, "x", is_changed=True) is here[PART]
    assert differing_part(there, here, "x", is_changed=False) is there[PART]
    with pytest.raises(KernelBug, match="no part 'system'; expected the state of x"):
        differing_part({}, here, "x", is_changed=False)


def test_a_change_in_silence_is_found() -> None:
    counter = Counter(3)
    cache = dump_one_part(lambda: counter, {}, is_changed=True)
    assert unnoticed_in_one_part(lambda: counter, cache, is_changed=False) == ""
    counter.count = 4
    assert unnoticed_in_one_part(lambda: counter, cache, is_changed=False) == PART
    assert unnoticed_in_one_part(lambda: counter, cache, is_changed=True) == ""
    assert unnoticed_in_one_part(lambda: counter, {}, is_changed=False) == ""
