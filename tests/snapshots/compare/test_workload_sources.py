"""Whatever a user names becomes work, or is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import ConfigError
from snapshots.compare.workload_sources import read_workload
from snapshots.errors import InputError
from snapshots.origin import Origin
from snapshots.recording import save_timeline
from snapshots.timeline import Timeline
from tests.snapshots.conftest import GOLDEN, small_config


def test_a_spec() -> None:
    assert read_workload("gen:small,ops=50").counts["Alloc"] > 10


def test_a_golden_file_gets_uses_added() -> None:
    work = read_workload(str(GOLDEN / "percpu-bitmap" / "a01-first-alloc.jsonl.gz"))
    assert work.name == "a01-first-alloc.jsonl.gz"
    assert work.counts["Alloc"] == work.counts["Access"] - work.counts["Alloc"] // 4
    assert "accesses were added" in work.notes[-1]


def test_a_machines_folder_is_replayed_for_its_order() -> None:
    work = read_workload(str(GOLDEN / "kernel-6.1" / "formats-2cpu"))
    # 748 allocations and 55 frees are in the log, 71 operations came before it
    assert work.counts["Alloc"] + work.counts["ModuleLoad"] > 748
    assert work.nr_cpus == 2
    assert work.origin == "machine formats-2cpu"


def test_a_recording(tmp_path: Path) -> None:
    timeline = Timeline(boot(small_config()))
    call = timeline.take("pcpu_alloc", 0, (64, 8, False, 0xCC0, "x"))
    assert call is not None
    timeline.take("this_cpu_write", 1, (call.result, 5, 8))
    path = tmp_path / "run.kms"
    save_timeline(path, timeline, Origin())
    work = read_workload(str(path))
    assert work.counts == {"Alloc": 1, "Access": 1}
    assert work.origin == "recording run.kms"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder; or expected one of gen:counters"):
        read_workload(str(tmp_path / "none"))


def test_a_wrong_spec() -> None:
    with pytest.raises(ConfigError, match="no kind of work 'x'"):
        read_workload("gen:x")


def test_a_run_in_which_nothing_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "idle.kms"
    save_timeline(path, Timeline(boot(small_config())), Origin())
    with pytest.raises(InputError, match="nothing is asked of the per-CPU allocator"):
        read_workload(str(path))


def test_no_run_at_all(tmp_path: Path) -> None:
    path = tmp_path / "nonsense.txt"
    path.write_text("nothing to see\n")
    with pytest.raises((InputError, ConfigError)):
        read_workload(str(path))
