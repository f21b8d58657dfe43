"""The claims hold because of what the systems do: where pages are taken from elsewhere, a row is off."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_sim.mm.page_alloc import PageAllocator
from snapshots.figures import claim_figures as claims
from snapshots.figures.bench import Bench
from snapshots.figures.inputs import AS_MAILED

ALL = (
    claims.less_than_pointer_array, claims.less_than_static, claims.node_local,
    claims.array_is_remote, claims.possible_only, claims.no_pointer_array,
)  # fmt: skip


def test_each_claim_is_measured_and_holds() -> None:
    bench = Bench(AS_MAILED)
    assert [measure(bench).ours for measure in ALL] == [1, 1, 0, 1, 0, 0]


def test_claims_hold_on_other_machines() -> None:
    bench = Bench(replace(AS_MAILED, nr_cpus=20, small_box_cpus=6))
    for measure in ALL:
        figure = measure(bench)
        assert figure.is_measured_right, figure.reason(with_mail=False)
    beside = {each.name: each.ours for each in claims.possible_only(bench).beside}
    assert beside == {"address space kept for them": 14 * 8192, "pages of the block": 12 + 9}
    assert claims.no_pointer_array(bench).beside[0].ours == 80


def test_pages_of_another_node_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    take = PageAllocator.alloc_pages

    def from_node_0(self: PageAllocator, **wanted: object) -> int | None:
        return take(self, **{**wanted, "node": 0})  # type: ignore[arg-type]

    monkeypatch.setattr(PageAllocator, "alloc_pages", from_node_0)
    figure = claims.node_local(Bench(AS_MAILED))
    assert figure.ours == 8192
    assert not figure.is_measured_right
