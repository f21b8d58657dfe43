"""`kmemscope declarations` from outside: what it prints, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tui.cli import app


def declarations(*words: str) -> Result:
    return CliRunner().invoke(app, ["declarations", *words])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("a.c", "b.c"):
        (tmp_path / name).write_text("static DEFINE_PER_CPU(int, hits);\n", encoding="utf-8")
    return [str(tmp_path / "a.c"), str(tmp_path / "b.c")]


def test_one_file_with_the_old_words_links(files: list[str]) -> None:
    result = declarations(files[0])
    assert result.exit_code == 0
    assert "'static' binds to per_cpu__hits only" in result.stdout


def test_two_of_them_do_not(files: list[str]) -> None:
    result = declarations("--json", *files)
    assert result.exit_code == 1
    body = json.loads(result.stdout)
    assert [row["severity"] for row in body["rows"]] == ["warning", "warning", "error"]
    assert "multiple definition of 'per_cpu_offset__hits'" in body["rows"][2]["text"]


def test_without_modules_nothing_is_wrong(files: list[str]) -> None:
    result = declarations("--without-modules", *files)
    assert result.exit_code == 0 and "nothing to complain about" in result.stdout


def test_the_objects_are_listed(files: list[str]) -> None:
    result = declarations("--objects", "--json", files[0])
    rows = json.loads(result.stdout)["rows"]
    assert [(row["name"], row["static"]) for row in rows] == [
        ("per_cpu__hits", True),
        ("per_cpu_offset__hits", False),
    ]


def test_what_cannot_be_read_is_said_in_a_line(tmp_path: Path) -> None:
    missing = declarations(str(tmp_path / "none.c"))
    assert missing.exit_code == 2 and "No such file" in missing.stderr
    large = tmp_path / "large.c"
    large.write_bytes(b" " * ((1 << 20) + 1))
    refused = declarations(str(large))
    assert refused.exit_code == 2 and "expected a C source of at most" in refused.stderr


def test_how_many_were_found_is_said(files: list[str], tmp_path: Path) -> None:
    assert "2 per-CPU declarations found in 2 files" in declarations(*files).stdout
    empty = tmp_path / "empty.c"
    empty.write_text("int hits;\n", encoding="utf-8")
    assert "no per-CPU declaration found in 1 file" in declarations(str(empty)).stdout
