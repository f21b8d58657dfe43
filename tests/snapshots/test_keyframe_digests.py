from __future__ import annotations

from pathlib import Path

import pytest

from snapshots import keyframe_digests as module
from snapshots.branches import BranchTree
from snapshots.keyframe_digests import keyframe_digests
from snapshots.recording import Origin, save_timeline, save_tree
from snapshots.state_codec import state_digest
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config


def test_they_are_the_digests_of_the_states_at_keyframes(tmp_path: Path) -> None:
    with short_segments(6):
        timeline = recorded(small_config(cpus=3), BUSY)
        tree = BranchTree.of(timeline)
        timeline.seek(timeline.end_step // 2)
        tree.fork().timeline.give("purge_vmap", 0)
    save_tree(tmp_path / "run.kms", tree, Origin())
    rows = [line.split() for line in keyframe_digests(tmp_path / "run.kms")]
    assert {row[0] for row in rows} == {"0", "1"}
    main = [row for row in rows if row[0] == "0"]
    assert len(main) == len(timeline.heads) + 1
    for _, step, digest in main:
        timeline.seek(int(step))
        assert state_digest(timeline.machine) == digest


def test_as_a_program_it_prints_lines_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.kms"
    save_timeline(path, recorded(small_config(), []), Origin())
    monkeypatch.setattr(module.sys, "argv", ["x", str(path)])
    assert module.main() == 0
    assert capsys.readouterr().out.startswith("0 0 ")
    path.write_bytes(b"nothing")
    assert module.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
