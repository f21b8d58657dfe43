"""repair and trim from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snapshots.bookmarks import Bookmark
from snapshots.branches import BranchTree
from snapshots.recording import Origin, save_tree
from snapshots.timeline import Timeline
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config
from tui.cli import app


def kmemscope(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def timeline() -> Timeline:
    with short_segments(6):
        return recorded(small_config(cpus=3), BUSY)


@pytest.fixture
def recording(tmp_path: Path, timeline: Timeline) -> Path:
    marks = {"here": Bookmark("here", 0, 200)}
    save_tree(tmp_path / "run.kms", BranchTree.of(timeline), Origin(), marks)
    return tmp_path / "run.kms"


def test_repair_of_a_whole_file_loses_nothing(
    recording: Path, tmp_path: Path, timeline: Timeline
) -> None:
    result = kmemscope("repair", recording, "-o", tmp_path / "out.kms")
    assert result.exit_code == 0
    assert result.stdout == (
        f"saved to {tmp_path / 'out.kms'}: {timeline.end_step} steps, {timeline.nr_inputs} inputs,"
        f" {timeline.nr_events} events, 1 branch\n"
    )
    assert kmemscope("verify", tmp_path / "out.kms").exit_code == 0


def test_repair_of_a_cut_file_tells_what_is_lost(recording: Path, tmp_path: Path) -> None:
    whole = recording.read_bytes()
    recording.write_bytes(whole[: len(whole) * 3 // 4])
    result = kmemscope("repair", recording, "-o", tmp_path / "out.kms")
    assert result.exit_code == 1
    kinds = [line.split(":")[0].split(" ")[0] for line in result.stdout.splitlines()]
    assert kinds[0] == "damage" and "lost" in kinds and kinds[-1] == "saved"
    assert kmemscope("verify", tmp_path / "out.kms").exit_code == 0


def test_repair_never_writes_over_what_it_reads(recording: Path) -> None:
    before = recording.read_bytes()
    assert kmemscope("repair", recording, "-o", recording).exit_code == 2
    assert recording.read_bytes() == before


def test_repair_of_nothing_is_2(tmp_path: Path) -> None:
    (tmp_path / "none.kms").write_bytes(b"nothing")
    result = kmemscope("repair", tmp_path / "none.kms", "-o", tmp_path / "out.kms")
    assert result.exit_code == 2 and not (tmp_path / "out.kms").exists()


def test_trim_by_positions(recording: Path, tmp_path: Path, timeline: Timeline) -> None:
    out = tmp_path / "out.kms"
    result = kmemscope("trim", recording, "--from", "@here", "--to", "75%", "-o", out)
    assert result.exit_code == 0
    first = max(head.first_step for head in timeline.heads if head.first_step <= 200)
    assert f"saved to {out}: steps {first} to " in result.stdout
    at = ["--at", "200", "--at", "@here"]
    assert kmemscope("digest", recording, *at).stdout == kmemscope("digest", out, *at).stdout
    verified = kmemscope("verify", out)
    assert verified.exit_code == 0
    assert f"it begins at step {first}: its first keyframe was loaded" in verified.stdout
    rows = json.loads(kmemscope("info", out, "--json").stdout)["rows"]
    facts = {row["fact"]: row["value"] for row in rows}
    assert (facts["first step"], facts["bookmarks"]) == (first, 1)


def test_trim_of_all_is_all(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.kms"
    assert kmemscope("trim", recording, "-o", out).exit_code == 0
    wanted = ["0", "33%", "end"]
    assert (
        kmemscope("digest", recording, *wanted).stdout == kmemscope("digest", out, *wanted).stdout
    )


def test_trim_backwards_or_over_itself_is_2(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.kms"
    result = kmemscope("trim", recording, "--from", "90%", "--to", "10%", "-o", out)
    assert result.exit_code == 2 and "there is no stretch" in result.stderr
    assert kmemscope("trim", recording, "-o", recording).exit_code == 2
    assert not out.exists()
