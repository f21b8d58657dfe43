"""From a description to a layout, as setup code of each day chose; and what no such kernel could be."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.area_plan import EMBED, LPAGE, PAGE, STATIC, AreaPlan
from kernel_sim.percpu.systems.chunk_2009 import chunk_plan
from tests.kernel_sim.percpu.area_kernel import KIB, area_config


def plan_of(**wishes: Any) -> AreaPlan:
    return chunk_plan(area_config(**wishes))


@pytest.mark.parametrize(
    ("wishes", "how"),
    [
        ({}, EMBED),
        ({"percpu": {"first_chunk": "page"}}, PAGE),
        ({"arch": "i386", "nr_nodes": 2}, PAGE),
        ({"nr_nodes": 2}, EMBED),
        ({"stage": ".31"}, EMBED),
        ({"stage": ".31", "nr_nodes": 2}, LPAGE),
        ({"stage": ".31", "lpage": True}, LPAGE),
        ({"stage": "v1"}, STATIC),
        ({"stage": "v1", "lpage": True}, LPAGE),
        ({"stage": "mail"}, STATIC),
    ],
)
def test_how_the_first_chunk_is_built(wishes: dict[str, Any], how: str) -> None:
    assert plan_of(**wishes).how == how


def test_units_of_the_first_commit_are_a_power_of_two_and_hold_two_parts() -> None:
    info = plan_of(stage="v1", percpu={"static_bytes": 70000}).info
    assert info.unit_size_bytes == 128 * KIB
    assert (info.reserved_size_bytes, info.dyn_size_bytes) == (0, 128 * KIB - 70000)
    assert info.unit_offsets() == tuple(128 * KIB * cpu for cpu in range(4))


def test_the_mail_fixes_unit_size_and_keeps_chunk_0_for_static_variables() -> None:
    info = plan_of(stage="mail").info
    assert (info.unit_size_bytes, info.dyn_size_bytes) == (128 * KIB, 0)
    assert plan_of(stage="mail", unit_bytes=64 * KIB).info.unit_size_bytes == 64 * KIB


def test_groups_are_by_node_from_2_6_32_on() -> None:
    assert len(plan_of(nr_nodes=2).info.groups) == 2
    assert len(plan_of(nr_nodes=2, percpu={"distance_fn": False}).info.groups) == 1
    assert len(plan_of(stage="v1", nr_nodes=2).info.groups) == 1
    assert len(plan_of(stage=".31", nr_nodes=2).info.groups) == 2, "large pages are shared by node"


def test_parts_of_2_6_34() -> None:
    info = plan_of(percpu={"static_bytes": 45123}).info
    assert (info.reserved_size_bytes, info.dyn_size_bytes) == (8192, 24509)
    auto = plan_of(percpu={"static_bytes": 45123}, dynamic_auto=True).info
    assert (auto.dyn_size_bytes, auto.unit_size_bytes) == (4029, 64 * KIB)
    none = plan_of(percpu={"static_bytes": 45123, "dynamic_bytes": 0}).info
    assert (none.dyn_size_bytes, none.size_sum_bytes) == (0, 53315)


@pytest.mark.parametrize(
    ("arch", "levels", "large"),
    [("x86-64", 4, 2 << 20), ("i386", 3, 2 << 20), ("i386", 2, 4 << 20)],
)
def test_with_large_pages_a_unit_is_one(arch: str, levels: int, large: int) -> None:
    plan = plan_of(arch=arch, levels=levels, pmd="units")
    assert 1 << plan.large_shift == large
    assert plan.info.unit_size_bytes == plan.info.atom_size_bytes == large


def test_an_embedded_first_chunk_that_is_too_wide_is_built_of_pages() -> None:
    plan = plan_of(nr_nodes=2).paged()
    assert plan.how == PAGE
    assert (len(plan.info.groups), plan.info.atom_size_bytes) == (1, 4096)


@pytest.mark.parametrize(
    ("wishes", "match"),
    [
        ({"lpage": True}, r"lpage: stage \.32 has no large page"),
        ({"stage": "mail", "lpage": True}, "lpage: stage mail"),
        ({"stage": ".31", "lpage": True, "percpu": {"first_chunk": "page"}}, "expected one of them"),
        ({"stage": "v1", "pmd": "units"}, "pmd: not in stage v1"),
        ({"stage": "v1", "min_unit_bytes": 12288}, "a power of two in v1"),
        ({"min_unit_bytes": 5000}, "min_unit_bytes: 5000; expected whole pages"),
        ({"stage": "mail", "unit_bytes": 12288}, "must be a power of two"),
        ({"stage": "mail", "percpu": {"static_bytes": 200000}}, "expected at most unit_bytes"),
        ({"stage": "v1", "percpu": {"reserved_bytes": 4096}}, "nothing is kept for modules"),
        (
            {"stage": "v1", "percpu": {"group_phys": ["0x2000000"]}},
            "group_phys: the first chunk is not embedded",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(wishes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        plan_of(**wishes)
