"""compare from outside: tables, JSON, a page, recordings, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kernel_sim.percpu.catalogue import CATALOGUE
from tests.snapshots.conftest import GOLDEN
from tui.cli import app
from tui.debugger.views.comparison import VIEWS

ROOT = Path(__file__).parents[3]
UP1 = ROOT / "examples" / "machines" / "up1.toml"
WORK = "gen:mixed,seed=5,ops=120"
BITMAP = ("--systems", "bitmap")


def compare(*words: object) -> Result:
    return CliRunner().invoke(app, ["compare", *(str(word) for word in words)])


def test_all_systems_side_by_side() -> None:
    result = compare(WORK)
    assert result.exit_code == 0, result.output
    for name in CATALOGUE:
        assert name in result.stdout
    assert result.stdout.startswith("mixed 5: 120 operations on ")
    assert "accesses, as the simulated CPUs made them" in result.stdout


def test_all_tables() -> None:
    brief, whole = compare(WORK, *BITMAP), compare(WORK, *BITMAP, "--all")
    assert "memory by CPU" in whole.stdout
    assert "memory by CPU" not in brief.stdout
    assert "simulated steps" in whole.stdout


def test_json_has_every_view() -> None:
    result = compare(WORK, "--json")
    told = json.loads(result.stdout)
    assert set(told) == {"workload", "ok", *VIEWS}
    assert told["workload"]["operations"] == 120
    assert told["ok"] is True
    assert [row["system"] for row in told["summary"]["rows"]][-1] == "bitmap"


def test_the_same_work_gives_the_same_answer() -> None:
    assert compare(WORK, "--json").stdout == compare(WORK, "--json").stdout


def test_a_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = compare(WORK, *BITMAP, "-o", page)
    assert result.exit_code == 0
    assert f"{page.stat().st_size} bytes written to {page}" in result.stderr
    assert page.read_text().startswith("<!doctype html>")


def test_runs_are_saved_and_can_be_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    result = compare(WORK, *BITMAP, "--save", folder)
    assert f"saved to {folder / 'bitmap.kms'}" in result.stderr
    info = CliRunner().invoke(app, ["info", str(folder / "bitmap.kms")])
    assert info.exit_code == 0
    verified = CliRunner().invoke(app, ["verify", str(folder / "bitmap.kms")])
    assert verified.exit_code == 0, verified.output
    again = compare(folder / "bitmap.kms", *BITMAP)
    assert again.exit_code == 0
    assert "recording bitmap.kms" in again.stdout


def test_a_golden_file_on_a_machine_of_ones_own() -> None:
    golden = GOLDEN / "percpu-bitmap" / "a03-hint-update-on-free.jsonl.gz"
    result = compare(golden, *BITMAP, "--machine", UP1)
    assert result.exit_code == 0, result.output
    assert "golden a03-hint-update-on-free" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gen:x",), "no kind of work 'x'; expected one of counters"),
        (("none.kms",), "none.kms: no such file or folder"),
        ((WORK, "--systems", "slab"), "--systems: no system 'slab'"),
        ((WORK, "--machine", "none.toml"), "none.toml"),
        ((WORK, "--app"), "--app: the screen needs a terminal"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: tuple[str, ...], said: str) -> None:
    result = compare(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_nothing_is_written_over_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("{}\n")
    result = compare(path, "-o", path)
    assert result.exit_code == 2
    assert "this is what is read" in result.stderr


def test_a_file_is_no_folder_for_recordings(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    result = compare(WORK, *BITMAP, "--save", path)
    assert result.exit_code == 2
    assert "not a folder" in result.stderr


def test_a_file_is_told_on_which_machine_its_work_was_done() -> None:
    golden = ROOT / "tests/golden/modalloc-2.6.17/a01-basic.jsonl.gz"
    told = "the machine is 'two nodes, four CPUs'"
    assert told in compare(golden, *BITMAP).stdout
    assert told not in compare(WORK, *BITMAP).stdout
