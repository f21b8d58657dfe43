"""`kmemscope figures` from outside: what it prints, and with which exit code."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snapshots.figures import catalogue
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Figure
from snapshots.figures.inputs import AS_MAILED
from snapshots.figures.legacy_figures import spare_of_one
from tui.cli import app

ROOT = Path(__file__).parents[3]
LONG = ("16",)
REFUSED = ("24",)  # a machine that cannot be is not booted
COMMANDS = [
    pytest.param(number, marks=pytest.mark.slow) if number in LONG else number
    for number in catalogue.FIGURES
]


def figures(*words: str) -> Result:
    return CliRunner().invoke(app, ["figures", *words])


def test_all_figures_are_right() -> None:
    result = figures("--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["number"] for row in rows] == list(catalogue.FIGURES)
    assert {row["verdict"] for row in rows} == {"agree", "differs"}


@pytest.mark.parametrize("number", COMMANDS)
def test_its_command_shows_the_figure(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = catalogue.FIGURES[number](Bench(AS_MAILED))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    shown = ""
    for command in figure.command.split("; "):
        program, *words = shlex.split(command)
        assert program == "kmemscope"
        result = CliRunner().invoke(app, words)
        assert result.exit_code == (2 if number in REFUSED else 0), result.output
        shown += result.output
    assert figure.shows
    for text in figure.shows:
        assert text in shown, f"{text!r} is not in what {figure.command} shows"


def test_a_run_can_be_saved_and_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "moved.kms"
    result = figures("R2", "--set", "nr_cpus=5", "--save", str(path))
    assert result.exit_code == 0, result.output
    shown = CliRunner().invoke(app, ["show", str(path), "stretches", "table"])
    assert "ptrs[5]" in shown.stdout


def test_runs_are_saved_one_by_one(tmp_path: Path) -> None:
    result = figures("1", "2", "--save", str(tmp_path / "two.kms"))
    assert (result.exit_code, "expected one NUMBER" in result.stderr) == (2, True)
    assert not (tmp_path / "two.kms").exists()


def test_some_are_told_in_detail() -> None:
    result = figures("3", "5")
    assert result.exit_code == 0
    assert "exact: 32768 - 17892 = 14876 bytes" in result.stdout
    assert "2 figures: 1 agree, 1 differs" in result.stdout


def test_an_input_moves_what_is_measured() -> None:
    result = figures("3", "--set", "static_bytes=20000", "--json")
    assert result.exit_code == 0
    row = json.loads(result.stdout)["rows"][0]
    assert (row["exact"], row["ours"], row["mail"]) == (12768, 12768, "14876 (14K)")


def test_a_figure_that_is_off_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(bench: Bench) -> Figure:
        return replace(spare_of_one(bench), ours=14875)

    monkeypatch.setattr(catalogue, "FIGURES", {"3": wrong})
    result = figures()
    assert result.exit_code == 1
    assert "the machine shows 14875, the inputs come to 14876" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("99",), "no figure '99'"),
        (("--set", "nothing=1"), "no input 'nothing'"),
        (("--set", "usual_line_bytes=100"), "power of two"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(words: tuple[str, ...], expected: str) -> None:
    result = figures(*words)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_inputs_can_be_listed() -> None:
    result = figures("--inputs", "--set", "static_bytes=20000")
    assert result.exit_code == 0
    assert "PERCPU_ENOUGH_ROOM" in result.stdout and " 20000 " in result.stdout
