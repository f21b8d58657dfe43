from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.errors import KernelFault, KernelSimError
from snapshots.errors import InputError, RecordingError, TraceError
from snapshots.logs.replay import replay_path
from snapshots.recording import open_recording
from tests.snapshots.conftest import GOLDEN, plain_lines


def test_what_is_wrong_with_a_file_is_no_fault_of_the_kernel() -> None:
    for error in (InputError, TraceError, RecordingError):
        assert issubclass(error, InputError) and issubclass(error, KernelSimError)
        assert not issubclass(error, KernelFault)
    assert not issubclass(TraceError, RecordingError)


def test_an_error_names_the_file_and_the_place_in_it(tmp_path: Path) -> None:
    recording = tmp_path / "run.kms"
    recording.write_bytes(b"kmemscope, but not really")
    with pytest.raises(RecordingError, match=r"run\.kms: byte 0: "):
        open_recording(recording)
    golden = tmp_path / "a.jsonl"
    header, *_ = plain_lines(GOLDEN / "percpu-bitmap" / "a01-first-alloc.jsonl.gz")
    golden.write_text(f"{header.strip()}\n[1,\n")
    with pytest.raises(TraceError, match=r"a\.jsonl: line 2: "):
        replay_path(golden)
