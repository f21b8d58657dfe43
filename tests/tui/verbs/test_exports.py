"""export from outside: three forms, to a file or to a pipe."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from snapshots.branches import BranchTree
from snapshots.recording import Origin, save_timeline, save_tree
from tests.child import command_line, running
from tests.snapshots.conftest import BUSY, recorded, short_segments, small_config
from tui.cli import app

ROOT = Path(__file__).parents[3]
MACHINE = ROOT / "examples" / "machines" / "up1.toml"


def kmemscope(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    with short_segments(6):
        save_timeline(tmp_path / "run.kms", recorded(small_config(cpus=3), BUSY), Origin())
    return tmp_path / "run.kms"


def test_an_ftrace_log_is_imported_to_the_same_recording(recording: Path, tmp_path: Path) -> None:
    log, back = tmp_path / "run.txt", tmp_path / "back.kms"
    result = kmemscope("export", recording, "--ftrace", "-o", log)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"{log.stat().st_size} bytes written to {log}" in result.stderr
    imported = kmemscope("import", log, "-o", back)
    assert imported.exit_code == 0 and " 0 divergences" in imported.stdout
    wanted = ["0", "17", "50%", "end"]
    assert (
        kmemscope("digest", recording, *wanted).stdout == kmemscope("digest", back, *wanted).stdout
    )
    assert kmemscope("replay", log).exit_code == 0
    assert kmemscope("verify", back).exit_code == 0


def test_an_edited_log_is_a_divergence_and_a_damaged_one_an_error(
    recording: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.txt"
    text = kmemscope("export", recording, "--ftrace").stdout
    log.write_text(
        text.replace("percpu_free_percpu: base_addr=f", "percpu_free_percpu: base_addr=e", 1)
    )
    assert kmemscope("replay", log).exit_code == 1
    log.write_text(text.replace("# kmemscope input [", "# kmemscope input [[", 1))
    result = kmemscope("replay", log)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "run.txt: line " in result.stderr and ", column " in result.stderr


def test_perfetto_and_json_go_to_stdout(recording: Path) -> None:
    trace = json.loads(kmemscope("export", recording, "--perfetto").stdout)
    assert {row["ph"] for row in trace["traceEvents"]} == {"M", "X", "i", "C"}
    rows = [
        json.loads(line) for line in kmemscope("export", recording, "--json").stdout.splitlines()
    ]
    assert (rows[0]["record"], rows[-1]["record"]) == ("header", "end")


def test_a_machine_can_be_exported_before_anything_happened() -> None:
    for form in ("--ftrace", "--perfetto", "--json"):
        assert kmemscope("export", MACHINE, form).exit_code == 0


def test_another_branch(tmp_path: Path) -> None:
    timeline = recorded(small_config(cpus=3), BUSY)
    tree = BranchTree.of(timeline)
    timeline.seek(40)
    branch = tree.fork()
    branch.timeline.give("purge_vmap", 0)
    branch.timeline.advance(41)
    save_tree(tmp_path / "run.kms", tree, Origin())
    path = tmp_path / "run.kms"
    text = kmemscope("export", path, "--json", "--branch", branch.name).stdout
    assert json.loads(text.splitlines()[-1])["step"] == branch.end_step
    for form in ("--ftrace", "--perfetto"):
        assert kmemscope("export", path, form, "--branch", branch.name).exit_code == 0
    wrong = kmemscope("export", path, "--json", "--branch", "none")
    assert wrong.exit_code == 2 and "there is no branch 'none'" in wrong.stderr


@pytest.mark.parametrize("forms", [(), ("--json", "--ftrace")])
def test_one_form_must_be_named(recording: Path, forms: tuple[str, ...]) -> None:
    result = kmemscope("export", recording, *forms)
    assert result.exit_code == 2 and "give one of --ftrace, --perfetto and --json" in result.stderr


def test_what_is_read_is_not_written_over(recording: Path, tmp_path: Path) -> None:
    before = recording.read_bytes()
    assert kmemscope("export", recording, "--json", "-o", recording).exit_code == 2
    assert recording.read_bytes() == before
    result = kmemscope("export", recording, "--json", "-o", tmp_path / "no" / "x")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1


def test_a_recording_that_lies_leaves_no_file(tmp_path: Path) -> None:
    timeline = recorded(small_config(), BUSY)
    timeline.open_body.events.pop(1)
    timeline.heads[-1].nr_events -= 1
    save_timeline(tmp_path / "run.kms", timeline, Origin())
    result = kmemscope("export", tmp_path / "run.kms", "--ftrace", "-o", tmp_path / "out.txt")
    assert result.exit_code == 2 and "kmemscope verify" in result.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["run.kms"]


def test_a_reader_that_goes_away_is_141(tmp_path: Path) -> None:
    command = command_line("export", "examples/demo.kms", "--json")
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141
