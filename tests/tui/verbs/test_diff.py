"""`kmemscope diff` from outside: what it prints, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kernel_sim.config import MachineConfig
from tui.cli import app
from tui.debugger.console import execute
from tui.debugger.session import Session

NUMA2 = Path(__file__).parents[3] / "examples" / "machines" / "numa2-4cpu.toml"


def kmemscope(*words: object) -> Result:
    return CliRunner().invoke(app, ["diff", *map(str, words)])


def saved(path: Path, *lines: str) -> Path:
    config = MachineConfig.from_mapping(tomllib.loads(NUMA2.read_text()), where="x")
    session = Session.boot(config)
    for line in lines:
        asyncio.run(execute(session, line))
    session.save(str(path))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    one = saved(tmp_path / "a.kms", "alloc 0 64", "alloc 1 128")
    return one, saved(tmp_path / "b.kms", "alloc 0 64", "alloc 1 24")


def test_two_files_are_told_where_they_part(files: tuple[Path, Path]) -> None:
    result = kmemscope(*files)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("a.kms and b.kms part at step ")
    assert lines[1].startswith("input 1: a.kms: step ")
    assert " pcpu_alloc 128 " in lines[1] and " pcpu_alloc 24 " in lines[1]
    assert lines[2].startswith("event ")
    assert lines[3].startswith("at step ")
    data = json.loads(kmemscope(*files, "--json").stdout)
    assert data["input"]["number"] == 1
    assert f"part at step {data['step']}; step {data['same_step']} is the last" in lines[0]


def test_a_file_and_its_equal_are_the_same(files: tuple[Path, Path], tmp_path: Path) -> None:
    again = saved(tmp_path / "c.kms", "alloc 0 64", "alloc 1 128")
    result = kmemscope(files[0], again)
    assert (result.exit_code, result.stdout.split(" are ")[0]) == (0, "a.kms and c.kms")
    assert json.loads(kmemscope(files[0], again, "--json").stdout)["same"] is True
    assert kmemscope(files[0], files[0]).exit_code == 0


def test_moments_of_one_file(files: tuple[Path, Path]) -> None:
    result = kmemscope(files[0], "--from", "0", "--to", "end")
    assert result.exit_code == 1
    assert ": 2 areas born, " in result.stdout.splitlines()[0]
    assert kmemscope(files[0], "--from", "3", "--to", "3").exit_code == 0
    assert kmemscope(f"{files[0]}#step=2", f"{files[0]}#step=2").exit_code == 0
    data = json.loads(kmemscope(f"{files[0]}#step=0", f"{files[0]}#step=end", "--json").stdout)
    assert data["title"].startswith("step 0 ► step ")
    assert not data["ok"]


def test_moments_of_two_files(files: tuple[Path, Path]) -> None:
    result = kmemscope(f"{files[0]}#step=end", f"{files[1]}#step=end")
    assert result.exit_code == 1
    assert (
        "1 area born, 1 area died" in result.stdout or "1 area died, 1 area born" in result.stdout
    )
    assert kmemscope(*files, "--at", "1").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("A", "--at", "3"),
        ("A#step=1",),
        ("A#step=1", "B"),
        ("A", "B", "--from", "1"),
        ("A", "--from", "nowhere"),
        ("A#step=99999999", "B#step=1"),
        ("nothing.kms", "B"),
    ],
)
def test_bad_input_is_refused(files: tuple[Path, Path], words: tuple[str, ...]) -> None:
    named = [word.replace("A", str(files[0])).replace("B", str(files[1])) for word in words]
    result = CliRunner().invoke(app, ["diff", *named])
    assert result.exit_code != 0
    assert result.exception is None or not isinstance(result.exception, (TypeError, KeyError))


def test_a_file_may_be_called_so_itself(tmp_path: Path) -> None:
    path = saved(tmp_path / "run#step=3", "alloc 0 64")
    assert kmemscope(path, path).exit_code == 0
