"""Time on machines of every per-CPU system: searches, diffs, branches, what-ifs, files, exports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from snapshots.opening import open_any
from snapshots.verify import verify_recording
from tests.tui.system_sessions import EVERY, busy_session_of, ptrs_of, tell
from tui.cli import app
from tui.debugger.console import answer_now
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

HERE = [pytest.param(*each, id="-".join(each)) for each in EVERY]


def busy(system: str, arch: str) -> tuple[Session, int, int]:
    """Return a session whose second area was written by CPU 1, and then the first one freed."""
    session = busy_session_of(system, arch)
    first, second, _ = ptrs_of(session)
    tell(session, f"write 1 percpu:{second:#x} 77", f"free 0 percpu:{first:#x}")
    return session, first, second


@pytest.mark.parametrize(("system", "arch"), HERE)
def test_searches_find_the_same_moments_both_ways(system: str, arch: str) -> None:
    session, first, second = busy(system, arch)
    copy = session.machine.system.copy_addr(second, 1)
    text, _ = answer_now(session, f"last mem[{copy:#x}, 4]")
    assert "this_cpu_write on cpu 1" in text
    tell(session, "goto end")
    text, _ = answer_now(session, f"changes area[{first:#x}].live")
    assert "2 changes" in text and "free_percpu" in text
    text, _ = answer_now(session, f"life {first:#x}")
    assert "born" in text and "freed" in text
    tell(session, "reverse-until system.nr_areas == 1")
    back = session.step
    tell(session, "goto start", "until system.nr_areas == 1")
    assert session.step == back
    tell(session, "goto start", f"until percpu[{second:#x}, 1, 4] == 77")
    there = session.step
    tell(session, "goto end", f"watch percpu[{second:#x}, 1]", "reverse-continue")
    assert session.step == there and session.machine.system.holds(second)


@pytest.mark.parametrize(("system", "arch"), HERE)
def test_branches_and_what_ifs(system: str, arch: str) -> None:
    session, first, _ = busy(system, arch)
    digest = session.digest()
    tell(session, "bookmark odd why", "goto 50%", "alloc 0 32", "branch main", "goto @odd")
    assert session.digest() == digest
    tell(session, "drop 1")
    sizes = dict(session.machine.system.live_areas()).values()
    assert 200 not in sizes and len(sizes) == 1
    tell(session, "branch main", "goto end", "alter 2 size=48")
    assert 48 in dict(session.machine.system.live_areas()).values()
    tell(session, "branch main", "goto end", "what-if schedule.seed=3")
    text, _ = answer_now(session, "parting main")
    assert "part" in text
    text, _ = answer_now(session, "diff start")
    assert "born" in text
    assert first not in ptrs_of(session)


def test_the_same_run_on_another_system(tmp_path: Path) -> None:
    """The inputs are given again, and what named a ptr names the one that it became."""
    session, _, _ = busy("bitmap", "x86-64")
    sizes = dict(session.machine.system.live_areas()).values()
    for wish in (
        "percpu.system=block-2005 percpu.options.as_posted=true",
        "percpu.system=chunk-2009 percpu.options.stage=.31",
        "percpu.system=percpu-km-2010 percpu.distance_fn=false",
        "percpu.system=legacy-static percpu.options.cache_line_bytes=64",
    ):
        tell(session, "branch main", "goto end", f"what-if {wish}")
        assert session.machine.config.percpu.system in wish
        assert sorted(dict(session.machine.system.live_areas()).values()) == sorted(sizes)
        text, _ = answer_now(session, "parting main")
        assert "other machine" in text or "part" in text
    tell(session, "what-if percpu.options.cache_line_bytes=128")
    with pytest.raises(CommandError, match="expected one of 'legacy-static'"):
        tell(session, "what-if percpu.system=nosuch")
    path = tmp_path / "many.kms"
    tell(session, f"save {path}")
    assert verify_recording(path) == []


@pytest.mark.parametrize(("system", "arch"), HERE)
def test_a_file_is_true_and_can_be_exported_and_read_back(
    system: str, arch: str, tmp_path: Path
) -> None:
    session, _, _ = busy(system, arch)
    path = tmp_path / "a.kms"
    tell(session, f"save {path}")
    assert verify_recording(path) == []
    for kind, name in (("perfetto", "p.json"), ("json", "j.json"), ("ftrace", "t.txt")):
        out = tmp_path / name
        done = CliRunner().invoke(app, ["export", str(path), f"--{kind}", "-o", str(out)])
        assert done.exit_code == 0, done.output
        assert out.stat().st_size > 1000
    counters = {
        row["name"]
        for row in json.loads((tmp_path / "p.json").read_text())["traceEvents"]
        if row["ph"] == "C"
    }
    assert "free pages" in counters and any(name.startswith("per-CPU") for name in counters)
    read_back = open_any(tmp_path / "t.txt").timeline
    read_back.seek(read_back.end_step)
    assert Session(read_back).digest() == session.digest()
