from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.errors import InputError
from snapshots.logs.early_allocs import SHIPPED, EarlyAlloc, early_allocs_for, parse_early_allocs
from snapshots.logs.text_source import read_lines

RECORDED = Path(__file__).parents[4] / "shared" / "golden"
ROW = {
    "seq": 3, "op": "alloc", "size": 32, "align": 16, "reserved": 0, "gfp": "0xcc0",
    "call_site": "__kmem_cache_create+0x366", "ptr": "0000000000037060",
}  # fmt: skip


@pytest.mark.parametrize(("version", "nr_allocs"), [("6.1", 71), ("6.12", 81)])
def test_the_lists_of_known_kernels_ship(version: str, nr_allocs: int) -> None:
    early = early_allocs_for(version)
    assert [alloc.seq for alloc in early] == list(range(nr_allocs))
    assert {alloc.op for alloc in early} == {"alloc"}
    assert len({alloc.ptr for alloc in early}) == nr_allocs


def test_the_first_early_allocation_begins_where_the_dynamic_part_does() -> None:
    assert early_allocs_for("6.1")[0] == EarlyAlloc(
        0, "alloc", 32, 16, False, 0xCC0, "__kmem_cache_create+0x366", 217088 + 8192
    )


def test_an_unknown_kernel_has_none() -> None:
    with pytest.raises(InputError, match=r"kernel 5.10; expected one of 6.1, 6.12, or an early"):
        early_allocs_for("5.10")


def test_a_free_has_only_its_pointer() -> None:
    (early,) = parse_early_allocs(['{"seq": 0, "op": "free", "ptr": "37000"}'], "x")
    assert early == EarlyAlloc(0, "free", 0, 0, False, 0, "", 0x37000)


@pytest.mark.parametrize(
    ("key", "value"),
    [("op", "move"), ("size", -1), ("gfp", 3264), ("ptr", "x"), ("seq", None), ("call_site", 1)],
)
def test_a_wrong_value_is_named(key: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^e.jsonl: line 1: '{key}': "):
        parse_early_allocs([json.dumps(ROW | {key: value})], "e.jsonl")


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match=r"line 2: 'seq': 3; expected more than 3"):
        parse_early_allocs([json.dumps(ROW)] * 2, "e.jsonl")


@given(st.lists(st.dictionaries(st.sampled_from(list(ROW)), st.none() | st.integers() | st.text())))
def test_any_rows_give_operations_or_an_input_error(rows: list[dict[str, object]]) -> None:
    try:
        early = parse_early_allocs([json.dumps(ROW | row) for row in rows], "any")
    except InputError:
        return
    assert len(early) == len(rows)


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_dir(), reason="the full recordings are not here")
@pytest.mark.parametrize("version", list(SHIPPED))
def test_every_recording_of_a_kernel_has_the_list_that_ships(version: str) -> None:
    paths = sorted(RECORDED.glob(f"kernel-{version}/*/early-allocs.jsonl*"))
    assert paths
    for path in paths:
        assert parse_early_allocs(read_lines(path), str(path)) == early_allocs_for(version)
