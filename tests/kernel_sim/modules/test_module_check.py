from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import InvariantBroken
from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.modules.module import GOING, UNFORMED


def wrong_refcnt(loader: ModuleLoader) -> None:
    loader.modules[0].refcnt += 1


def lost_user(loader: ModuleLoader) -> None:
    loader.modules[1].used_by.clear()


def lost_use(loader: ModuleLoader) -> None:
    loader.modules[0].uses.clear()


def twice(loader: ModuleLoader) -> None:
    loader.modules.append(loader.modules[0])


def overlap(loader: ModuleLoader) -> None:
    loader.modules[0].core_addr = loader.modules[1].core_addr
    loader.modules[0].sections = []


def half_a_page(loader: ModuleLoader) -> None:
    loader.modules[0].core_size_bytes += 100


def still_init(loader: ModuleLoader) -> None:
    loader.modules[0].init_addr = 0x1000


def outside(loader: ModuleLoader) -> None:
    loader.modules[1].core_size_bytes = 4096


def same_export(loader: ModuleLoader) -> None:
    loader.modules[0].exports |= loader.modules[1].exports


def no_state(loader: ModuleLoader) -> None:
    loader.modules[0].state = "MODULE_STATE_ASLEEP"


def moved_percpu(loader: ModuleLoader) -> None:
    loader.modules[1].percpu_ptr += 4096


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (wrong_refcnt, "refcnt 2, its users make 1"),
        (lost_user, "uses counter, which does not know it"),
        (lost_use, "is used by reader, which does not use it"),
        (twice, "two modules are called reader"),
        (overlap, "overlap at"),
        (half_a_page, "core is not of whole pages"),
        (still_init, "still has its init block"),
        (outside, "lies outside of it"),
        (same_export, "both export"),
        (no_state, "is in state 'MODULE_STATE_ASLEEP'"),
        (moved_percpu, "is outside of its area"),
    ],
)
def test_each_contradiction_is_found(
    bench: Any, spoil: Callable[[ModuleLoader], None], text: str
) -> None:
    assert bench.load("counter") == bench.load("reader") == 0
    bench.loader.check_invariants()
    spoil(bench.loader)
    with pytest.raises(InvariantBroken, match=text):
        bench.loader.check_invariants()


def test_references_while_loading_and_leaving(bench: Any) -> None:
    assert bench.load("plain") == 0
    mod = bench.loader.modules[0]
    mod.state, mod.refcnt = UNFORMED, 2
    bench.loader.check_invariants()
    mod.state, mod.refcnt = GOING, 0
    bench.loader.check_invariants()
    mod.refcnt = 2
    with pytest.raises(InvariantBroken, match="refcnt 2"):
        bench.loader.check_invariants()
