from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from snapshots.errors import InputError
from snapshots.logs.early_allocs import early_allocs_for
from snapshots.logs.machine_folder import find_companions, read_machine_folder
from snapshots.logs.text_source import read_text

GOLDEN = Path(__file__).parents[2] / "golden" / "ftrace"
FOLDER = GOLDEN / "machine-smp4-2node"


def test_a_real_folder_is_read() -> None:
    real = read_machine_folder(FOLDER)
    assert (real.release, real.version) == ("6.1.0-56-amd64", "6.1")
    assert "nokaslr" in real.words
    assert real.cpus is not None
    assert real.cpus.possible == (0, 1, 2, 3)
    assert [node.distances for node in real.nodes] == [(10, 20), (20, 10)]
    assert real.percpu_symbols["__per_cpu_end"] == 217088
    assert real.kernel_symbols["__per_cpu_offset"] == 0xFFFFFFFF8241CB60
    assert [stats.cpu for stats in real.trace_stats] == [0, 1, 2, 3]
    assert real.nr_events_lost == 0


def test_what_happened_is_read_when_asked_for() -> None:
    real = read_machine_folder(FOLDER)
    assert len(real.trace().events) == 40
    assert [state.label for state in real.states()][1] == "marker: init begin"


def test_early_allocations_come_from_those_that_ship_if_the_folder_has_none() -> None:
    assert read_machine_folder(FOLDER).early_allocs() == early_allocs_for("6.1")


def test_early_allocations_of_the_folder_come_first(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "m")
    (tmp_path / "m" / "early-allocs.jsonl").write_text('{"seq": 0, "op": "free", "ptr": "8"}\n')
    assert [early.ptr for early in read_machine_folder(tmp_path / "m").early_allocs()] == [8]


def test_the_short_kernel_log_will_do() -> None:
    real = read_machine_folder(GOLDEN / "machine-page-4cpu")
    assert real.boot is not None
    assert real.boot.setup is not None
    assert real.boot.setup.first_chunk == "page"
    assert real.version == "6.1"
    assert list(real.states()) == []
    with pytest.raises(InputError, match=r"machine-page-4cpu: no trace; expected trace.txt"):
        real.trace()


def test_a_folder_with_a_trace_only_is_read(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "trace.txt.gz", tmp_path)
    real = read_machine_folder(tmp_path)
    assert (real.boot, real.version, real.cpus, real.nodes) == (None, None, None, ())
    assert len(real.trace().events) == 40
    with pytest.raises(InputError, match="of unknown version"):
        real.early_allocs()


def test_a_folder_of_something_else_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no recordings.*dmesg.txt, .*trace.txt, .*\.gz$"):
        read_machine_folder(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no directory; expected a folder"):
        read_machine_folder(tmp_path / "missing")


def test_a_damaged_file_is_named_with_its_path(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "m")
    (tmp_path / "m" / "sys" / "nodes").write_text("node0 nonsense\n")
    with pytest.raises(InputError, match=r"m/sys/nodes: line 1: 'node0 nonsense'; expected"):
        read_machine_folder(tmp_path / "m")


def test_boot_messages_above_a_trace_are_found(tmp_path: Path) -> None:
    path = tmp_path / "log.txt.gz"
    text = read_text(FOLDER / "dmesg.txt.gz") + read_text(FOLDER / "trace.txt.gz")
    path.write_bytes(gzip.compress(text.encode()))
    boot = find_companions(path)
    assert boot is not None
    assert (boot.version, boot.nr_cpu_ids, len(boot.groups)) == ("6.1", 4, 2)


def test_a_bare_trace_has_no_companions() -> None:
    assert find_companions(FOLDER / "trace.txt.gz") is None
