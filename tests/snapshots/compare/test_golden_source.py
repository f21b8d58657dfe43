"""Golden files as work: what they ask, not what they answered."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from snapshots.compare.golden_source import workload_of_golden
from snapshots.compare.workload import Alloc, Free, ModuleLoad, ModuleUnload
from snapshots.errors import InputError

HEADER = {
    "format": "percpu-golden", "scenario": "t", "config": {"backend": "vm", "nr_cpus": 2},
}  # fmt: skip


def lines(*rows: object, header: object = HEADER) -> Iterable[str]:
    return [json.dumps(row) for row in (header, *rows)]


def alloc(number: int, **changed: object) -> dict[str, object]:
    row: dict[str, object] = {
        "op": "alloc", "id": number, "size": 100, "align": 8, "gfp": "kernel", "reserved": False,
    }  # fmt: skip
    return row | changed


def test_allocations_sections_and_frees_become_operations() -> None:
    work = workload_of_golden(
        lines(
            alloc(1),
            {"event": "populate"},
            alloc(2, gfp="atomic"),
            alloc(3, reserved=True),
            {"op": "stats"},
            {"op": "free", "id": 1, "sched": True},
            {"op": "balance", "requested": 1},
            {"op": "fail_pages", "after": 3},
            {"op": "free", "id": 3},
        ),
        "t.jsonl",
        name="t",
    )
    assert work.operations == (
        Alloc(1, 100, 8),
        Alloc(2, 100, 8, atomic=True),
        ModuleLoad("section_3", 100, 8, 1),
        Free(1),
        ModuleUnload("section_3"),
    )
    assert (work.name, work.origin, work.nr_cpus) == ("t", "golden t", 2)
    assert work.left_out == {"balance": 1, "fail_pages": 1}
    assert "one each is assumed" in work.notes[0]


def test_all_allocations_of_the_module_loaders_allocator_are_sections() -> None:
    header = {"format": "percpu-golden", "scenario": "a01", "config": {"backend": "modalloc"}}
    rows = ({"op": "alloc", "id": 1, "size": 100, "align": 4, "off": 0}, {"op": "free", "id": 1})
    work = workload_of_golden(lines(*rows, header=header), "a01.jsonl", name="a01")
    assert work.operations == (ModuleLoad("section_1", 100, 4, 1), ModuleUnload("section_1"))
    assert work.nr_cpus == 4


def test_what_failed_there_is_still_asked() -> None:
    work = workload_of_golden(lines(alloc(1, size=0, error="EINVAL")), "t.jsonl", name="t")
    assert work.operations == (Alloc(1, 0, 8),)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (({"op": "free", "id": 9},), "t.jsonl: line 2: 'id': 9 is not allocated here"),
        ((alloc(1), alloc(1)), "t.jsonl: line 3: 'id': 1 is allocated already"),
        ((alloc(1, error="ENOMEM"), {"op": "free", "id": 1}), "line 3: 'id': 1 is not allocated"),
        (({"op": "leap"},), "t.jsonl: line 2: 'op': 'leap'; expected 'alloc' or 'free'"),
        ((alloc(1, size="4"),), "'size': '4'; expected a whole number"),
        ((alloc(1, gfp="none"),), "'gfp': 'none'; expected 'kernel'"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(rows: tuple[object, ...], said: str) -> None:
    with pytest.raises(InputError, match="expected") as caught:
        workload_of_golden(lines(*rows), "t.jsonl", name="t")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": "other"}, "t: line 1: no header of a golden file"),
        (HEADER | {"kind": "alloc_info"}, "t: holds layouts of units and no operation"),
        ({"format": "percpu-golden"}, "t: line 1: 'config': missing"),
    ],
)
def test_a_file_of_another_kind_is_refused(header: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        workload_of_golden(lines(header=header), "t", name="t")
    assert said in str(caught.value)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(InputError, match="t: no header of a golden file"):
        workload_of_golden([], "t", name="t")
