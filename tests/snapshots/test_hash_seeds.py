"""A program that looked at the order of hashes would be found out by two processes that disagree."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapshots import hash_seeds
from snapshots.hash_seeds import compared, seed_problems
from snapshots.recording import Origin, save_timeline
from tests.snapshots.conftest import BUSY, recorded, small_config

PATH = Path("run.kms")


def test_two_processes_agree_on_a_true_recording(tmp_path: Path) -> None:
    save_timeline(tmp_path / "run.kms", recorded(small_config(cpus=3), BUSY), Origin())
    assert seed_problems(tmp_path / "run.kms") == []


def test_a_recording_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.kms").write_bytes(b"nothing")
    [problem] = seed_problems(tmp_path / "run.kms")
    assert "under hash seed 1 it cannot be run: " in problem and "\n" not in problem


def test_processes_really_order_hashes_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of digests both tell the hash of a text: now they must disagree."""
    package = tmp_path / "snapshots"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "keyframe_digests.py").write_text("print(0, 7, hash('x'))\n")
    monkeypatch.setattr(hash_seeds, "PACKAGES", tmp_path)
    monkeypatch.chdir(tmp_path)
    [problem] = seed_problems(PATH)
    assert "nondeterminism in this program: branch 0, step 7: digest" in problem


def test_the_first_difference_is_named() -> None:
    rows = ["0 0 aa", "0 9 bb", "1 3 cc"]
    assert compared(PATH, rows, [*rows]) == []
    [problem] = compared(PATH, rows, ["0 0 aa", "0 9 bx", "1 3 cx"])
    assert "branch 0, step 9: digest bb under hash seed 1, bx under 2" in problem
    [problem] = compared(PATH, rows, rows[:2])
    assert "branch 1, step 3: digest cc under hash seed 1, nothing under 2" in problem
