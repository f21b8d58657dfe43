"""Slab classes: the sizes of both eras, and the slabs that real kernels cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from kernel_sim.mm.slab_classes import order_of, slab_classes


@pytest.mark.parametrize(
    ("line", "small"),
    [
        (32, [32, 64, 96, 128, 192, 256]),
        (64, [32, 64, 128, 192, 256, 512]),
        (128, [32, 64, 128, 256, 512, 1024]),
    ],
)
def test_2_6_20_has_96_and_192_where_lines_are_short(line: int, small: list[int]) -> None:
    sizes = [cache.size_bytes for cache in slab_classes("2.6.20", cache_line_bytes=line)]
    assert sizes[:6] == small
    assert sizes[-1] == 131072


def test_a_kernel_for_many_cpus_has_one_class_more() -> None:
    assert slab_classes("2.6.20", nr_cpus=512)[-1].size_bytes == 131072
    assert slab_classes("2.6.20", nr_cpus=1024)[-1].size_bytes == 262144


def test_slabs_of_an_i386_kernel_hold_what_its_slabinfo_showed() -> None:
    """Objects a slab, pages a slab: widely published lines of /proc/slabinfo."""
    rows = {
        cache.name: (cache.nr_objects(cache.order), 1 << cache.order)
        for cache in slab_classes("2.6.20", cache_line_bytes=32, arch="i386")
    }
    assert rows["size-32"] == (113, 1)
    assert rows["size-64"] == (59, 1)
    assert rows["size-96"] == (40, 1)
    assert rows["size-128"] == (30, 1)
    assert rows["size-192"] == (20, 1)
    assert rows["size-256"] == (15, 1)
    assert rows["size-512"] == (8, 1)
    assert rows["size-2048"] == (2, 1)
    assert rows["size-8192"] == (1, 2)
    assert rows["size-131072"] == (1, 32)


def test_slabs_of_a_modern_kernel_grow_with_the_cpus() -> None:
    def rows(nr_cpus: int) -> list[tuple[str, int, int]]:
        return [
            (cache.name, cache.nr_objects(cache.order), 1 << cache.order)
            for cache in slab_classes("modern", nr_cpus=nr_cpus)
        ]

    assert rows(4) == [
        ("kmalloc-8", 512, 1), ("kmalloc-16", 256, 1), ("kmalloc-32", 128, 1),
        ("kmalloc-64", 64, 1), ("kmalloc-96", 42, 1), ("kmalloc-128", 32, 1),
        ("kmalloc-192", 21, 1), ("kmalloc-256", 16, 1), ("kmalloc-512", 16, 2),
        ("kmalloc-1k", 16, 4), ("kmalloc-2k", 16, 8), ("kmalloc-4k", 8, 8),
        ("kmalloc-8k", 4, 8),
    ]  # fmt: skip
    assert rows(1)[7:9] == [("kmalloc-256", 16, 1), ("kmalloc-512", 8, 1)]
    assert rows(64)[7:9] == [("kmalloc-256", 32, 2), ("kmalloc-512", 32, 4)]


@given(
    st.sampled_from(["2.6.20", "modern"]),
    st.sampled_from([16, 32, 64, 128, 256]),
    st.integers(1, 5000),
    st.sampled_from(["i386", "x86-64"]),
)
def test_objects_fit_their_slab_whatever_the_machine(
    profile: str, line: int, nr_cpus: int, arch: str
) -> None:
    classes = slab_classes(profile, cache_line_bytes=line, nr_cpus=nr_cpus, arch=arch)
    sizes = [cache.size_bytes for cache in classes]
    assert sizes == sorted(dict.fromkeys(sizes))
    for cache in classes:
        for order in (cache.min_order, cache.order):
            nr_objects = cache.nr_objects(order)
            used_bytes = cache.first_offset_bytes + nr_objects * cache.size_bytes
            assert nr_objects >= 1
            assert used_bytes <= 4096 << order
        assert cache.min_order <= cache.order
        if cache.first_offset_bytes:
            nr_objects = cache.nr_objects(cache.order)
            assert cache.first_offset_bytes >= {"i386": 28, "x86-64": 48}[arch] + 4 * nr_objects


def test_orders_are_the_least_that_hold_the_bytes() -> None:
    sizes = (0, 1, 4096, 4097, 8192, 8193, 4 << 20)
    assert [order_of(size) for size in sizes] == [0, 0, 0, 1, 1, 2, 10]


def test_profiles_and_lines_nobody_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="slab 'slob': expected one of"):
        slab_classes("slob")
    for line in (0, 8, 48, 512):
        with pytest.raises(ConfigError, match=f"a cache line of {line} bytes"):
            slab_classes("modern", cache_line_bytes=line)
