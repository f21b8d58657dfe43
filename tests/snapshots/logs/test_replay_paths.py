from __future__ import annotations

from pathlib import Path

from snapshots.logs.replay_paths import paths_under

GOLDEN = Path(__file__).parents[2] / "golden"


def test_a_folder_of_golden_files_is_all_of_them() -> None:
    names = [path.name for path in paths_under(GOLDEN / "percpu-bitmap")]
    assert names[0] == "a01-first-alloc.jsonl.gz"
    assert names[-1] == "c01-alloc-info.jsonl.gz"
    assert len(names) == 51


def test_a_folder_of_machines_is_all_of_them() -> None:
    names = [path.name for path in paths_under(GOLDEN / "kernel-6.1")]
    assert "smp4-2node" in names and names == sorted(names)


def test_a_machine_and_a_file_are_themselves() -> None:
    for path in (GOLDEN / "kernel-6.1" / "up1", GOLDEN / "boot-lines.json"):
        assert paths_under(path) == [path]


def test_a_folder_with_nothing_to_replay_is_itself(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing\n")
    (tmp_path / "other.jsonl").write_text('{"format": "something"}\n')
    assert paths_under(tmp_path) == [tmp_path]
