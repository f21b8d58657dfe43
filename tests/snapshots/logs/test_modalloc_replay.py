"""What the module loader's own C code did, op by op; and that one changed field in it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from snapshots.errors import TraceError
from snapshots.logs.modalloc_replay import blocks_around, is_modalloc_header, replay_modalloc
from snapshots.logs.replay import replay_path
from snapshots.logs.replay_paths import paths_under
from tests.snapshots.conftest import GOLDEN, SHARED_GOLDEN, plain_lines

FOLDER = GOLDEN / "modalloc-2.6.17"
FILES = sorted(FOLDER.glob("*.jsonl.gz"))
SHARED = sorted((SHARED_GOLDEN / "modalloc-2.6.17").glob("*.jsonl"))
Row = dict[str, object]


def check_equal(path: Path) -> None:
    report = replay_path(path)
    assert report.ok, report.lines()
    assert report.kind == "modalloc"
    assert report.nr_operations >= report.nr_compared > 0


def test_the_golden_files_are_there() -> None:
    assert len(FILES) == 13
    assert paths_under(FOLDER) == FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_sections_go_where_the_kernel_put_them(path: Path) -> None:
    check_equal(path)


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_sections_go_where_the_kernel_put_them_in_the_shared_files(path: Path) -> None:
    check_equal(path)


# -- one thing changed ---------------------------------------------------------------------------------


def rows_of(name: str) -> list[Row]:
    return [json.loads(line) for line in plain_lines(FOLDER / f"{name}.jsonl.gz")]


def replayed(rows: list[Row], rest: str = "") -> tuple[int, str, object, object, str]:
    """The one divergence of changed rows: line, kind, expected, got, the blocks around."""
    lines = [json.dumps(row) + "\n" for row in rows]
    report = replay_modalloc("x.jsonl", [*lines, rest] if rest else lines)
    assert len(report.divergences) == 1
    row = report.divergences[0]
    return row.line_no, row.kind, json.loads(row.expected), json.loads(row.got), row.around


def find(rows: list[Row], fits: Callable[[Row], bool], nth: int = 0) -> int:
    return [index for index, row in enumerate(rows) if fits(row)][nth]


@pytest.mark.parametrize("nth", [0, 1, -1])
def test_a_changed_placement_is_the_divergence_with_the_blocks_around(nth: int) -> None:
    rows = rows_of("a02-extra")
    at = find(rows, lambda row: row.get("op") == "alloc", nth)
    op = sum(row.get("op") in ("alloc", "free") for row in rows[: at + 1])
    real = cast("int", rows[at]["off"])
    rows[at]["off"] = real + 4
    line_no, kind, expected, got, around = replayed(rows)
    assert (line_no, kind) == (at + 1, f"op {op}: alloc")
    assert (expected, got) == ({"off": real + 4}, {"off": real})
    assert f"{real}: " in around, "the place that was expected lies in the block that begins there"


def test_a_placement_that_was_none_and_a_failure_that_was_none_are_found() -> None:
    rows = rows_of("a04-exhaust")
    at = find(rows, lambda row: "error" in row)
    failed = {name: rows[at].pop(name) for name in ("error", "log")}
    rows[at]["off"] = 30048
    assert replayed(rows)[:4] == (at + 1, "op 5: alloc", {"off": 30048}, failed)
    rows = rows_of("a04-exhaust")
    at = find(rows, lambda row: row.get("op") == "alloc", 1)
    real = rows[at].pop("off")
    rows[at]["error"] = "ENOMEM"
    assert replayed(rows)[:4] == (at + 1, "op 2: alloc", {"error": "ENOMEM"}, {"off": real})


def test_a_changed_line_of_the_log_is_found() -> None:
    rows = rows_of("a05-align")
    at = find(rows, lambda row: "log" in row)
    real = {"off": rows[at]["off"], "log": rows[at]["log"]}
    rows[at]["log"] = ["<4>mod: per-cpu alignment 256 > 32"]
    assert replayed(rows)[:4] == (at + 1, "op 2: alloc", real | {"log": rows[at]["log"]}, real)
    del rows[at]["log"]
    assert replayed(rows)[:4] == (at + 1, "op 2: alloc", {"off": real["off"]}, real)


@pytest.mark.parametrize("name", ["num_used", "num_allocated"])
def test_every_figure_of_the_array_is_compared(name: str) -> None:
    rows = rows_of("a01-basic")
    at = find(rows, lambda row: row.get("op") == "stats", 3)
    real = cast("int", rows[at][name])
    rows[at][name] = real + 1
    assert replayed(rows)[:4] == (at + 1, f"op 3: stats {name}", real + 1, real)


@pytest.mark.parametrize("index", range(4))
def test_every_block_is_compared_and_the_first_that_differs_is_told(index: int) -> None:
    rows = rows_of("a01-basic")
    at = find(rows, lambda row: row.get("op") == "stats", 2)
    blocks = cast("list[int]", rows[at]["blocks"])
    real = list(blocks)
    blocks[index] *= -1
    line_no, kind, expected, got, around = replayed(rows)
    assert (line_no, kind, expected, got) == (at + 1, "op 2: stats blocks", blocks, real)
    assert f"{sum(map(abs, real[:index]))}: {abs(real[index])} " in around


def test_what_a_dropped_free_leads_to_is_found_at_the_next_look() -> None:
    rows = rows_of("a07-merge")
    at = find(rows, lambda row: row.get("op") == "free")
    del rows[at]
    assert replayed(rows)[:2] == (at + 1, "op 5: stats blocks")


def test_a_changed_boot_line_is_found() -> None:
    rows = rows_of("a06-noroom")
    config = cast("Row", rows[0]["config"])
    real = config.pop("boot_log")
    assert replayed(rows)[:4] == (1, "op 0: header boot_log", [], real)


def test_after_a_difference_the_file_is_not_read_on() -> None:
    rows = rows_of("a01-basic")
    rows[2]["off"] = 0
    assert replayed(rows[:3], "no JSON\n")[0] == 3


def test_the_blocks_around_a_place_are_told_with_what_is_left_out() -> None:
    sizes = [-100, -4, 8, -4, 8, -4, 8, -4, 8, -4, 60]
    assert blocks_around(sizes, 0) == "0: 100 used; 100: 4 used; 104: 8 free; 112: 4 used; …"
    assert blocks_around(sizes, 125) == (
        "…; 104: 8 free; 112: 4 used; 116: 8 free; 124: 4 used; 128: 8 free; 136: 4 used;"
        " 140: 8 free; …"
    )
    assert blocks_around(sizes, 1000).endswith("148: 4 used; 152: 60 free")


# -- what is no such file ------------------------------------------------------------------------------

CONFIG: Row = {
    "backend": "modalloc", "room": 32768, "static_size": 9, "smp_cache_bytes": 64, "word_size": 8,
}  # fmt: skip


def header(**changed: object) -> str:
    return json.dumps({"format": "percpu-golden", "config": CONFIG | changed})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "line 1: no header"),
        (['{"format":"percpu-golden"}'], "line 1: no header"),
        (['{"format":"percpu-golden","config":{"backend":"vm"}}'], "line 1: no header"),
        (["[1]"], "line 1: .*expected a JSON object"),
        ([header(room=-1)], "line 1: config: 'room'"),
        ([header(room=1 << 40)], "'room'.*expected 0 to"),
        ([header(static_size="9")], "'static_size'"),
        ([header(smp_cache_bytes=48)], "'smp_cache_bytes'.*power of two"),
        ([header(word_size=2)], "'word_size'.*4 or 8"),
        ([header(), "{"], "line 2"),
        ([header(), '{"op":"dance"}'], "line 2: 'op'.*expected 'alloc' or 'free' or 'stats'"),
        ([header(), '{"op":"alloc","id":1,"size":0,"align":4}'], "'size': 0; expected 1"),
        ([header(), '{"op":"alloc","id":1,"size":8,"align":3}'], "'align': 3; expected a power"),
        ([header(), '{"op":"alloc","id":1,"size":true,"align":4}'], "'size'"),
        ([header(), '{"op":"alloc","id":1,"size":8,"align":4,"off":64}'] * 2, "line 3: 'op'"),
        ([header()] + ['{"op":"alloc","id":1,"size":8,"align":4,"off":64}'] * 2, "1 is in use"),
        ([header(), '{"op":"free","id":9}'], "line 2: 'id': 9; expected that of a section in use"),
        ([header(), '{"op":"stats","num_used":2,"num_allocated":2}'], "'blocks': missing"),
    ],
)
def test_what_is_no_golden_file_is_refused_with_its_place(lines: list[str], expected: str) -> None:
    with pytest.raises(TraceError, match=f"x.jsonl: .*{expected}"):
        replay_modalloc("x.jsonl", lines)


def test_its_header_is_known_from_other_golden_files() -> None:
    assert is_modalloc_header(json.loads(header()))
    for row in (None, [], {}, {"format": "percpu-golden", "config": {"backend": "vm"}}):
        assert not is_modalloc_header(row)
    assert not is_modalloc_header({"format": "other", "config": CONFIG})
