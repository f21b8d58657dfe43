"""The verb from outside: what it prints, what it saves, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from kernel_sim.config import MachineConfig
from snapshots.recording import open_recording
from snapshots.verify import verify_recording
from snapshots.what_if.shrink import Shrinker
from tui.debugger.console import execute
from tui.debugger.session import Session
from tui.verbs import shrink as verb

MACHINES = Path(__file__).parents[3] / "examples" / "machines"
NUMA2 = MACHINES / "numa2-4cpu.toml"
GOOD_LINES = [f"alloc {n % 4} {64 + 4 * n}" for n in range(20)]


def kmemscope(*words: object) -> Result:
    from tui.cli import app

    return CliRunner().invoke(app, [str(word) for word in words])


def recording(path: Path, *lines: str) -> Path:
    config = MachineConfig.from_mapping(tomllib.loads(NUMA2.read_text()), where="x")
    session = Session.boot(config)
    for line in (*GOOD_LINES, *lines):
        asyncio.run(execute(session, line))
    session.save(str(path))
    return path


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    return recording(tmp_path / "long.kms", "free 1 0x37000", "alloc 2 8", "free 3 0x37044")


def test_a_long_run_becomes_a_short_recording(faulty: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.kms"
    result = kmemscope("shrink", faulty, "-o", short)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("23 inputs → ")
    assert lines[1].startswith("fails as: fault: cpu 3: free of")
    assert lines[-1] == f"saved to {short}"
    opened = open_recording(short)
    assert opened.timeline.nr_inputs == len(lines) - 3 <= 2
    opened.timeline.seek(opened.timeline.end_step)
    assert opened.timeline.machine.fault is not None
    assert "shrunk from long.kms" in opened.origin.notes[0]
    assert verify_recording(short) == []


def test_what_it_prints_is_a_script_that_fails(faulty: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.kms"
    lines = kmemscope("shrink", faulty, "-o", short).stdout.splitlines()[2:-1]
    script = tmp_path / "again.txt"
    script.write_text("\n".join(lines) + "\n")
    again = kmemscope("run", script, NUMA2)
    assert again.exit_code == 1
    assert "the machine stopped: cpu" in again.stdout


def test_json_tells_the_same(faulty: Path, tmp_path: Path) -> None:
    result = kmemscope("shrink", faulty, "-o", tmp_path / "short.kms", "--json")
    told = json.loads(result.stdout)
    assert (told["inputs_before"], told["is_minimal"]) == (23, True)
    assert told["inputs"] == len(told["lines"])


@pytest.mark.parametrize(
    ("until", "nr_inputs"),
    [
        ("event percpu_alloc_percpu size=100", 1),
        ("chunk[0].nr_alloc > 2", 3),
        ("step > 3", 1),
    ],
)
def test_a_condition_can_be_told(faulty: Path, tmp_path: Path, until: str, nr_inputs: int) -> None:
    result = kmemscope("shrink", faulty, "-o", tmp_path / "short.kms", "--until", until, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["inputs"] == nr_inputs


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("event percpu_destroy_chunk", "the condition does not hold at the recording's end"),
        ("check", "the condition does not hold"),
        ("event colour", "is no event"),
        ("colour", "colour"),
        ("1 +", "expected"),
    ],
)
def test_a_condition_that_does_not_hold_is_bad_input(
    faulty: Path, tmp_path: Path, until: str, said: str
) -> None:
    short = tmp_path / "short.kms"
    result = kmemscope("shrink", faulty, "-o", short, "--until", until)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not short.exists()


def test_a_run_that_fails_nowhere_is_bad_input(tmp_path: Path) -> None:
    good = recording(tmp_path / "good.kms")
    result = kmemscope("shrink", good, "-o", tmp_path / "short.kms")
    assert result.exit_code == 2
    assert "no allocation in it failed" in result.stderr


def test_it_writes_over_nothing_that_it_reads(faulty: Path, tmp_path: Path) -> None:
    before = faulty.read_bytes()
    assert kmemscope("shrink", faulty, "-o", faulty).exit_code == 2
    assert kmemscope("shrink", faulty, "-o", tmp_path).exit_code == 2
    assert faulty.read_bytes() == before


def test_interrupted_it_keeps_the_best_so_far(
    faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Shrinker.shrinks

    def interrupted(self):  # type: ignore[no-untyped-def]
        for told in real(self):
            yield told
            if told.nr_rows < 20:
                raise KeyboardInterrupt

    monkeypatch.setattr(Shrinker, "shrinks", interrupted)
    short = tmp_path / "short.kms"
    result = kmemscope("shrink", faulty, "-o", short)
    assert result.exit_code == 130
    assert "this is the best so far" in result.stderr
    assert open_recording(short).timeline.nr_inputs < 23


def test_the_budget_is_told(faulty: Path, tmp_path: Path) -> None:
    result = kmemscope("shrink", faulty, "-o", tmp_path / "s.kms", "--runs", 3)
    assert result.exit_code == 0
    assert "not every input was tried" in result.stdout


def test_it_adds_itself_to_a_command_line() -> None:
    app = typer.Typer()
    verb.register(app)
    assert [command.callback for command in app.registered_commands] == [verb.shrink]
