"""What is in examples/ works as the README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from snapshots.logs.replay import replay_path
from snapshots.opening import open_any
from snapshots.verify import verify_recording

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def test_the_headless_session_tells_its_story() -> None:
    program = [sys.executable, str(EXAMPLES / "headless_session.py")]
    run = subprocess.run(
        program, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert any("pcpu_create_chunk < pcpu_alloc" in line for line in lines)
    assert "cpu 1 reads 0xc0ffee" in lines
    assert "cpu 2 reads 0x0: a copy of its own" in lines
    assert lines[-2].endswith("the same")


def test_the_demo_opens_where_a_chunk_has_just_been_created() -> None:
    opened = open_any(EXAMPLES / "demo.kms")
    timeline = opened.timeline
    timeline.seek(opened.origin.opens_at)
    newest = timeline.event_at(timeline.events_before(timeline.step) - 1)
    assert type(newest.event).__name__ == "PercpuCreateChunk"
    assert timeline.machine.active, "a call should be under way, its stack is what one comes to see"


def test_the_demo_is_true() -> None:
    assert verify_recording(EXAMPLES / "demo.kms") == []


def test_a_log_with_its_dmesg_lines_is_enough() -> None:
    report = replay_path(EXAMPLES / "logs" / "formats-2cpu.txt.gz")
    assert (report.mode, report.ok, report.nr_compared) == ("predicted", True, 819)


def test_the_machine_beneath_tells_its_story() -> None:
    program = [
        sys.executable, "-m", "tui.cli", "script", "examples/machine_beneath.txt",
        "examples/machines/numa2-4cpu.toml",
    ]  # fmt: skip
    run = subprocess.run(
        program, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    for told in (
        "hits is loaded",
        "cpu 0 reads 0x7 at 0x35000",
        "cpu 3 reads 0x8 at 0x35000",
        "cpu 3 stays: -EAGAIN",
        "cpu 3 is online",
        "hits 1 in L1, 0 in L2; misses 1, for which 4 table entries were read",
        "hits is gone",
        "<6>smpboot: CPU 3 is now offline",
    ):
        assert any(line.startswith(told) for line in lines), told
