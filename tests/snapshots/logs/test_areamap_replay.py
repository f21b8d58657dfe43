"""What 2.6.34's own C code did, op by op, on the whole machine; and that one changed field is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from kernel_sim.percpu.area_chunk import AreaChunk
from snapshots.errors import TraceError
from snapshots.logs.areamap_replay import describe_map, is_areamap_header, replay_areamap
from snapshots.logs.replay import replay_path
from snapshots.logs.replay_paths import paths_under
from tests.snapshots.conftest import GOLDEN, SHARED_GOLDEN, plain_lines

FOLDER = GOLDEN / "percpu-areamap"
FILES = sorted(FOLDER.glob("*.jsonl.gz"))
SHARED = sorted((SHARED_GOLDEN / "percpu-areamap").glob("*.jsonl"))
QUICK = ("a", "c", "b06", "b10")
Row = dict[str, object]


def marked(path: Path) -> object:
    marks = () if path.name.startswith(QUICK) else (pytest.mark.slow,)
    return pytest.param(path, id=path.name.partition(".")[0], marks=marks)


def check_equal(path: Path) -> None:
    report = replay_path(path)
    assert report.ok, report.lines()
    assert report.kind == ("alloc_info" if path.name.startswith("c") else "areamap")
    assert report.nr_operations >= report.nr_compared > 0


def test_the_golden_files_are_there() -> None:
    assert len(FILES) == 23
    assert paths_under(FOLDER) == FILES


@pytest.mark.parametrize("path", map(marked, FILES))
def test_the_allocator_does_what_the_kernel_did(path: Path) -> None:
    check_equal(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_the_allocator_does_what_the_kernel_did_in_the_shared_files(path: Path) -> None:
    check_equal(path)


# -- one thing changed ---------------------------------------------------------------------------------


def rows_of(name: str) -> list[Row]:
    return [json.loads(line) for line in plain_lines(FOLDER / f"{name}.jsonl.gz")]


def replayed(rows: list[Row]) -> tuple[int, str, object, object, str]:
    """The one divergence of changed rows: line, kind, expected, got, the maps around."""
    report = replay_areamap("x.jsonl", [json.dumps(row) + "\n" for row in rows])
    assert len(report.divergences) == 1, report.lines()
    row = report.divergences[0]
    return row.line_no, row.kind, json.loads(row.expected), json.loads(row.got), row.around


def find(rows: list[Row], fits: Callable[[Row], bool], nth: int = 0) -> int:
    return [index for index, row in enumerate(rows) if fits(row)][nth]


def op_number(rows: list[Row], at: int) -> int:
    return sum("op" in row and row["op"] != "stats" for row in rows[: at + 1])


@pytest.mark.parametrize("nth", [0, 3, -1])
def test_a_changed_placement_is_told_with_the_map_around(nth: int) -> None:
    rows = rows_of("a06-fill-chunks")
    at = find(rows, lambda row: row.get("op") == "alloc", nth)
    real = {"chunk": rows[at]["chunk"], "off": rows[at]["off"]}
    rows[at]["off"] = cast("int", rows[at]["off"]) + 4
    line_no, kind, expected, got, around = replayed(rows)
    assert (line_no, kind) == (at + 1, f"op {op_number(rows, at)}: alloc")
    assert (expected, got) == (real | {"off": rows[at]["off"]}, real)
    assert f"chunk {real['chunk']}: free " in around and f"{real['off']}: -" in around


@pytest.mark.parametrize("event", ["create_chunk", "populate", "depopulate", "destroy_chunk"])
def test_a_dropped_event_is_the_divergence_of_its_op(event: str) -> None:
    rows = rows_of("a07-reclaim")
    at = find(rows, lambda row: row.get("event") == event)
    first, last = at, at + 1
    while "event" in rows[first - 1]:
        first -= 1
    while last < len(rows) and "event" in rows[last]:
        last += 1
    real = rows[first:last]
    dropped = rows.pop(at)
    line_no, kind, expected, got, _ = replayed(rows)
    assert line_no == first and kind.endswith("events")
    assert (expected, got) == ([row for row in real if row is not dropped], real)


@pytest.mark.parametrize(
    "name",
    ["free_size", "contig_hint", "slot", "immutable", "map_used", "map_alloc", "map", "populated"],
)
def test_every_figure_of_a_chunk_is_compared(name: str) -> None:
    rows = rows_of("a08-reserved")
    at = find(rows, lambda row: row.get("op") == "stats", 1)
    chunk = cast("list[Row]", rows[at]["chunks"])[0]
    assert {*chunk} == {
        "chunk", "free_size", "contig_hint", "slot", "immutable", "map_used", "map_alloc", "map",
        "populated",
    }  # fmt: skip
    real = chunk[name]
    chunk[name] = [*real[:-1], 9] if isinstance(real, list) else cast("int", real) + 1
    line_no, kind, expected, got, _ = replayed(rows)
    assert (line_no, expected, got) == (at + 1, chunk[name], real)
    assert kind == f"op {op_number(rows, at)}: stats chunk reserved {name}"


def test_lists_and_chunks_are_compared() -> None:
    rows = rows_of("a06-fill-chunks")
    at = find(rows, lambda row: row.get("op") == "stats", -1)
    real = cast("list[object]", rows[at]["slots"])
    rows[at]["slots"] = list(reversed(real))
    assert replayed(rows)[2:4] == (rows[at]["slots"], real)
    rows = rows_of("a06-fill-chunks")
    chunks = cast("list[Row]", rows[at]["chunks"])
    names = [chunk["chunk"] for chunk in chunks]
    chunks.pop()
    assert replayed(rows)[2:4] == (names[:-1], names)


def test_failures_and_their_lines_are_compared() -> None:
    rows = rows_of("a08-reserved")
    at = find(rows, lambda row: "error" in row)
    real = {name: rows[at][name] for name in ("error", "log")}
    rows[at]["log"] = ["<4>PERCPU: other"]
    assert replayed(rows)[2:4] == ({"error": "ENOMEM", "log": ["<4>PERCPU: other"]}, real)
    rows[at] |= real | {"error": "EINVAL"}
    assert replayed(rows)[3] == real


def test_who_asks_for_the_work_is_compared() -> None:
    rows = rows_of("a07-reclaim")
    at = find(rows, lambda row: row.get("op") == "free" and "sched" in row)
    del rows[at]["sched"]
    assert replayed(rows)[:4] == (at + 1, f"op {op_number(rows, at)}: free", {}, {"sched": True})
    rows = rows_of("a07-reclaim")
    at = find(rows, lambda row: row.get("op") == "balance")
    real = cast("int", rows[at]["requested"])
    rows[at]["requested"] = real + 1
    kind = f"op {op_number(rows, at)}: balance requested"
    assert replayed(rows)[:4] == (at + 1, kind, real + 1, real)


@pytest.mark.parametrize(
    "name",
    [
        "boot_log", "unit_size", "alloc_size", "dyn_size_effective", "units_per_alloc", "groups",
        "unit_offsets", "nr_slots", "has_reserved_chunk", "reserved_chunk_limit",
    ],
)  # fmt: skip
def test_the_layout_that_the_header_tells_is_compared(name: str) -> None:
    rows = rows_of("a12-dyn-auto")
    config = cast("Row", rows[0]["config"])
    real = config[name]
    if name == "groups":
        config[name] = [[1, 0, 2, 3]]
    else:
        config[name] = [*real, 1] if isinstance(real, list) else cast("int", real) + 1
    line_no, kind, expected, got, _ = replayed(rows)
    assert (line_no, kind, expected, got) == (1, f"header {name}", config[name], real)


def test_failing_pages_fail_as_in_the_other_data_set() -> None:
    """One request is one page of one CPU: 4 CPUs, 16 pages, and the chunk that was made stays."""
    rows = rows_of("a11-dyn-zero")[:1]
    log = "<4>PERCPU: allocation failed, size=65536 align=4, failed to populate"
    asked: Row = {"op": "alloc", "size": 65536, "align": 4, "gfp": "kernel", "reserved": False}
    rows += [
        {"op": "fail_pages", "after": 63},
        asked | {"id": 1, "error": "ENOMEM", "log": [log]},
        {"event": "create_chunk", "chunk": 1},
        {"op": "fail_pages", "after": 64},
        asked | {"id": 2, "chunk": 1, "off": 0},
        {"event": "populate", "chunk": 1, "page_start": 0, "page_end": 16},
        {"op": "fail_pages", "after": -1},
    ]
    report = replay_areamap("x.jsonl", [json.dumps(row) + "\n" for row in rows])
    assert report.ok, report.lines()
    assert report.nr_compared == 2


def test_a_changed_layout_is_found() -> None:
    rows = rows_of("c01-alloc-info")
    result = cast("Row", rows[3]["result"])
    real = result["unit_size"]
    result["unit_size"] = 4096
    assert replayed(rows)[:4] == (4, "alloc_info unit_size", 4096, real)


# -- files that are none -------------------------------------------------------------------------------


def test_only_its_own_files_are_taken() -> None:
    for path in FILES:
        assert is_areamap_header(json.loads(plain_lines(path)[0]))
    for folder in ("percpu-bitmap", "modalloc-2.6.17"):
        for path in sorted((GOLDEN / folder).glob("*.jsonl.gz")):
            assert not is_areamap_header(json.loads(plain_lines(path)[0]))
    assert not is_areamap_header([]) and not is_areamap_header({"format": "other"})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"op": "dance"}, "unknown op 'dance'"),
        ({"op": "free", "id": 99}, "not as golden files are"),
        ({"op": "alloc", "id": 9}, "not as golden files are"),
        ({"op": "stats"}, "not as golden files are"),
    ],
)
def test_a_damaged_row_is_an_error(change: Row, match: str) -> None:
    rows = rows_of("a01-first-alloc")
    rows[1] = change
    with pytest.raises(TraceError, match=match):
        replay_areamap("x.jsonl", [json.dumps(row) for row in rows])


def test_a_damaged_header_is_an_error() -> None:
    rows = rows_of("a01-first-alloc")
    cast("Row", rows[0]["config"])["static_size"] = "many"
    with pytest.raises(TraceError, match="static_bytes"):
        replay_areamap("x.jsonl", [json.dumps(row) for row in rows])
    with pytest.raises(TraceError, match="no header"):
        replay_areamap("x.jsonl", ["{}"])
    with pytest.raises(TraceError, match="no JSON"):
        replay_areamap("x.jsonl", ["nonsense"])


def test_a_map_in_words() -> None:
    chunk = AreaChunk.fresh(number=2, base_addr=0, nr_pages=16)
    for _ in range(12):
        chunk.area_map.alloc(100, 4)
    assert describe_map(chunk, 500) == (
        "chunk 2: free 64336, hint 64336, slot -1, 13 of 16 entries"
        " […, 200: -100, 300: -100, 400: -100, 500: -100, 600: -100, 700: -100, 800: -100, …]"
    )
