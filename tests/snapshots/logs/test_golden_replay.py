"""What the kernel's own C code did, op by op; and that one changed field in it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from snapshots.errors import TraceError
from snapshots.logs.golden_replay import replay_golden
from snapshots.logs.replay import replay_path
from tests.snapshots.conftest import GOLDEN, SHARED_GOLDEN, plain_lines

FILES = sorted((GOLDEN / "percpu-bitmap").glob("[abc]*.jsonl.gz"))
QUICK = ("a", "c", "b11", "b14", "b17", "b20", "b25", "b26")
SHARED = sorted((SHARED_GOLDEN / "percpu-bitmap").glob("*.jsonl"))
SMALL = GOLDEN / "percpu-bitmap" / "a05-free-all-balance.jsonl.gz"
Row = dict[str, object]


def marked(path: Path) -> object:
    marks = () if path.name.startswith(QUICK) else (pytest.mark.slow,)
    return pytest.param(path, id=path.name.partition(".")[0], marks=marks)


def check_equal(path: Path) -> None:
    report = replay_path(path)
    assert report.ok, report.lines()[1:3]
    assert report.nr_operations > 0
    assert report.nr_compared > 0
    assert report.kind == ("alloc_info" if path.name.startswith("c") else "golden")


def test_the_golden_files_are_there() -> None:
    assert len(FILES) == 51


@pytest.mark.parametrize("path", map(marked, FILES))
def test_the_allocator_does_what_the_kernel_did(path: Path) -> None:
    check_equal(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_the_allocator_does_what_the_kernel_did_in_the_shared_files(path: Path) -> None:
    check_equal(path)


# -- one thing changed ----------------------------------------------------------------------------------


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in plain_lines(path)]


def replayed(tmp_path: Path, rows: list[Row]) -> list[tuple[int, str, object, object]]:
    """The divergences of changed rows, expected and got as JSON."""
    path = tmp_path / "changed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = replay_path(path)
    assert not report.ok
    return [
        (row.line_no, row.kind, json.loads(row.expected), json.loads(row.got))
        for row in report.divergences
    ]


def find(rows: list[Row], fits: Callable[[Row], bool], nth: int = 0) -> int:
    return [index for index, row in enumerate(rows) if fits(row)][nth]


def result_of(row: Row) -> Row:
    asked = ("op", "id", "size", "align", "gfp", "reserved")
    return {name: value for name, value in row.items() if name not in asked}


@pytest.mark.parametrize("nth", [0, 5, -1])
@pytest.mark.parametrize(("name", "more"), [("off", 4), ("chunk", 1)])
def test_a_changed_placement_is_the_divergence(
    tmp_path: Path, name: str, more: int, nth: int
) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "alloc" and isinstance(row.get("chunk"), int), nth)
    real = result_of(rows[at])
    rows[at][name] = cast("int", rows[at][name]) + more
    assert replayed(tmp_path, rows) == [(at + 1, "alloc", result_of(rows[at]), real)]


@pytest.mark.parametrize("event", ["create_chunk", "populate", "depopulate", "destroy_chunk"])
def test_a_dropped_event_is_the_divergence_of_its_op(tmp_path: Path, event: str) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("event") == event)
    first = last = at
    while "event" in rows[first - 1]:
        first -= 1
    while last + 1 < len(rows) and "event" in rows[last + 1]:
        last += 1
    real = rows[first : last + 1]
    kept = [row for row in real if row is not rows[at]]
    found = replayed(tmp_path, rows[:first] + kept + rows[last + 1 :])
    assert found == [(first, "events", kept, real)]


def test_a_dropped_event_at_the_end_of_a_file_is_found(tmp_path: Path) -> None:
    rows = rows_of(SMALL)
    last = find(rows, lambda row: "event" in row, -1)
    first = last
    while "event" in rows[first - 1]:
        first -= 1
    found = replayed(tmp_path, rows[:last])
    assert found == [(first, "events", rows[first:last], rows[first : last + 1])]


def test_an_invented_event_is_the_divergence_of_its_op(tmp_path: Path) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "free")
    invented: Row = {"event": "destroy_chunk", "chunk": 1}
    found = replayed(tmp_path, [*rows[: at + 1], invented, *rows[at + 1 :]])
    assert found == [(at + 1, "events", [invented], [])]


def chunk_row(rows: list[Row], at: int, index: int) -> Row:
    return cast("list[Row]", rows[at]["chunks"])[index]


@pytest.mark.parametrize("hint", range(7))
def test_a_changed_hint_is_the_divergence(tmp_path: Path, hint: int) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "stats", 1)
    chunk = chunk_row(rows, at, -1)
    real = list(cast("list[int]", chunk["chunk_md"]))
    cast("list[int]", chunk["chunk_md"])[hint] += 1
    kind = f"stats chunk {chunk['chunk']} chunk_md"
    assert replayed(tmp_path, rows) == [(at + 1, kind, chunk["chunk_md"], real)]


FIGURES = (
    "nr_alloc", "max_alloc_size", "empty_pop_pages", "first_bit", "free_bytes", "contig_bytes",
    "sum_frag", "max_frag", "cur_min_alloc", "cur_med_alloc", "cur_max_alloc", "nr_populated", "slot",
    "isolated", "immutable", "chunk_md", "populated", "alloc_map_crc32", "md_blocks", "alloc_runs",
)  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_a_chunk_is_compared(tmp_path: Path, name: str) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "stats", 1)
    chunk = chunk_row(rows, at, 1)
    assert {*FIGURES, "chunk"} == {*chunk}
    real = chunk[name]
    chunk[name] = [*real, [9]] if isinstance(real, list) else cast("int", real) + 1
    kind = f"stats chunk {chunk['chunk']} {name}"
    assert replayed(tmp_path, rows) == [(at + 1, kind, chunk[name], real)]


@pytest.mark.parametrize("name", ["nr_empty_pop_pages", "nr_populated", "atomic_alloc_failed"])
def test_every_figure_of_all_chunks_is_compared(tmp_path: Path, name: str) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "stats")
    real = rows[at][name]
    rows[at][name] = cast("int", real) + 1
    assert replayed(tmp_path, rows) == [(at + 1, f"stats {name}", rows[at][name], real)]


def test_lists_and_lifetime_counters_are_compared(tmp_path: Path) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "stats")
    real = cast("Row", rows[at]["global"])
    rows[at]["global"] = real | {"nr_dealloc": 77}
    assert replayed(tmp_path, rows) == [(at + 1, "stats global", rows[at]["global"], real)]
    rows = rows_of(SMALL)
    slots = cast("list[list[object]]", rows[at]["slots"])
    rows[at]["slots"] = [[cast("int", slots[0][0]) + 1, slots[0][1]], *slots[1:]]
    assert replayed(tmp_path, rows) == [(at + 1, "stats slots", rows[at]["slots"], slots)]


def test_a_request_for_the_work_that_was_none_is_found(tmp_path: Path) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "free" and "sched" not in row)
    rows[at]["sched"] = True
    assert replayed(tmp_path, rows) == [(at + 1, "free", {"sched": True}, {})]
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "balance")
    real = cast("int", rows[at]["requested"])
    rows[at]["requested"] = real + 1
    assert replayed(tmp_path, rows) == [(at + 1, "balance requested", real + 1, real)]


@pytest.mark.parametrize(
    "name",
    ["unit_size", "unit_offsets", "nr_slots", "sidelined_slot", "free_slot", "to_depopulate_slot"],
)
def test_the_layout_that_the_header_tells_is_compared(tmp_path: Path, name: str) -> None:
    rows = rows_of(SMALL)
    config = cast("Row", rows[0]["config"])
    real = config[name]
    config[name] = [*real, 1] if isinstance(real, list) else cast("int", real) + 1
    assert (1, f"header {name}", config[name], real) in replayed(tmp_path, rows)


def test_a_changed_boot_line_is_found(tmp_path: Path) -> None:
    rows = rows_of(SMALL)
    lines = cast("list[str]", cast("Row", rows[0]["config"])["boot_log"])
    real = list(lines)
    lines[0] = lines[0].replace("percpu", "percent")
    assert replayed(tmp_path, rows) == [(1, "header boot_log", lines, real)]


def test_a_changed_layout_case_is_found_and_the_others_go_on(tmp_path: Path) -> None:
    rows = rows_of(GOLDEN / "percpu-bitmap" / "c01-alloc-info.jsonl.gz")
    for at in (3, 9):
        result = cast("Row", rows[at]["result"])
        result["unit_size"] = cast("int", result["unit_size"]) * 2
    found = replayed(tmp_path, rows)
    assert [row[:2] for row in found] == [(4, "alloc_info unit_size"), (10, "alloc_info unit_size")]


def test_after_a_difference_the_file_is_not_read_on(tmp_path: Path) -> None:
    rows = rows_of(SMALL)
    at = find(rows, lambda row: row.get("op") == "alloc", 2)
    rows[at]["off"] = 1 << 20
    path = tmp_path / "changed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[: at + 1]) + "no JSON\n")
    report = replay_path(path)
    assert (report.nr_operations, len(report.divergences)) == (3, 1)
    assert "chunk" in report.divergences[0].around


# -- what is no golden file -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "no header"),
        (['{"format":"other"}'], "no header"),
        (["[1]"], "line 1: expected a JSON object"),
        (["{"], "line 1: no JSON"),
        (['{"format":"percpu-golden"}'], "config"),
        (['{"format":"percpu-golden","kind":"alloc_info"}', "7"], "line 2: expected a JSON object"),
        (['{"format":"percpu-golden","kind":"alloc_info"}', "{}"], "golden"),
    ],
)
def test_what_is_no_golden_file_is_refused(lines: list[str], expected: str) -> None:
    with pytest.raises(TraceError, match=f"x.jsonl.*{expected}"):
        replay_golden("x.jsonl", lines)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"op": "dance"},
        {"op": ["alloc"]},
        {"op": "alloc"},
        {"op": "alloc", "id": 9, "size": "8", "align": 8, "gfp": "kernel", "reserved": False},
        {"op": "alloc", "id": [9], "size": 8, "align": 8, "gfp": "kernel", "reserved": False},
        {"op": "alloc", "id": 9, "size": 8, "align": 8, "gfp": "many", "reserved": False},
        {"op": "free", "id": 99999},
        {"op": "free", "id": []},
        {"op": "fail_pages", "after": "soon"},
        {"op": "balance"},
        {"op": "stats"},
        {"op": "stats", "chunks": 7},
    ],
)
def test_a_malformed_op_is_refused(row: Row) -> None:
    header, *rest = plain_lines(SMALL)
    lines = [header, json.dumps(row), *rest]
    with pytest.raises(TraceError, match=r"x\.jsonl"):
        replay_golden("x.jsonl", lines)
