"""What a file is, is read from its content: every kind under a name that says something else."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from snapshots.errors import InputError, RecordingError
from snapshots.opening import is_recording, open_any, read_config, read_machine_toml
from snapshots.state_codec import state_digest
from tests.snapshots.conftest import GOLDEN

EXAMPLES = Path(__file__).parents[2] / "examples" / "machines"
RECORDING = Path(__file__).parents[1] / "recordings" / "v1-small.kms"
FOLDER = GOLDEN / "kernel-6.1" / "formats-2cpu"
LOG = FOLDER / "trace.txt.gz"
OPS = GOLDEN / "percpu-bitmap" / "a01-first-alloc.jsonl.gz"
LAYOUTS = GOLDEN / "percpu-bitmap" / "c01-alloc-info.jsonl.gz"
UP1 = EXAMPLES / "up1.toml"


@pytest.mark.parametrize(
    ("source", "kind"),
    [(RECORDING, "recording"), (UP1, "config"), (LOG, "trace"), (OPS, "golden")],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", ["what", "what.txt", "what.kms", "what.jsonl", "what.gz"])
def test_a_file_is_known_by_its_content(tmp_path: Path, source: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    shutil.copyfile(source, path)
    opened = open_any(path)
    assert opened.kind == kind
    assert opened.timeline.step == opened.timeline.first_step
    assert opened.name == ("up1" if kind == "config" else name)


@pytest.mark.parametrize("source", [LOG, OPS], ids=["log", "golden"])
def test_a_log_is_the_same_run_unpacked(tmp_path: Path, source: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(gzip.decompress(source.read_bytes()))
    packed, unpacked = open_any(source), open_any(plain)
    for opened in (packed, unpacked):
        opened.timeline.seek(opened.timeline.end_step)
    assert packed.timeline.end_step == unpacked.timeline.end_step > 0
    assert state_digest(packed.timeline.machine) == state_digest(unpacked.timeline.machine)


def test_a_folder_of_a_machine_is_opened_with_what_its_replay_reported() -> None:
    opened = open_any(FOLDER)
    assert (opened.kind, opened.name) == ("machine", "formats-2cpu")
    assert opened.lines[-1].endswith("0 divergences")
    assert (opened.origin.kind, opened.origin.divergences) == ("machine", [])


def test_a_machine_beside_a_log_is_the_machine_of_its_run(tmp_path: Path) -> None:
    bare = tmp_path / "trace.txt"
    bare.write_text(
        "# tracer: nop\n"
        "  a-1 [000] ..... 1.000001: percpu_alloc_percpu: call_site=f+0x1/0x2 reserved=0"
        " is_atomic=0 size=8 align=8 base_addr=ffff88803ec37000 off=0 ptr=0000000000037000"
        " bytes_alloc=48 gfp_flags=GFP_KERNEL\n"
    )
    opened = open_any(bare, read_machine_toml(EXAMPLES / "numa2-4cpu.toml"))
    topology = opened.timeline.machine.topology
    assert (topology.nr_cpu_ids, len(topology.nodes)) == (4, 2)
    assert open_any(bare).timeline.machine.topology.nodes == (0,)


def test_golden_cases_without_a_run_are_refused_with_what_checks_them() -> None:
    with pytest.raises(InputError, match=r"holds no run of a machine; `kmemscope replay .*c01-"):
        open_any(LAYOUTS)


@pytest.mark.parametrize("suffix", ["", ".toml", ".kms"])
def test_what_is_not_there_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"nowhere{suffix}"
    with pytest.raises(InputError) as refused:
        open_any(path)
    assert str(refused.value) == f"{path}: no such file or folder"


def test_a_directory_that_holds_no_machine_is_refused_with_what_was_expected(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r"expected dmesg\.txt"):
        open_any(tmp_path)
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    for read in (is_recording, read_machine_toml):
        with pytest.raises(InputError, match=r"folder\.toml: "):
            read(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = [", "no TOML"),
        (b"x = " + b"1" * 5000, "no TOML: .*digits"),
        (b"x = " + b"[" * 5000, "nested too deeply"),
        (b"\x00\x01\x02", "line 1|binary"),
        (b"[cpus]\npossible = 5\n", "possible"),
        (b"", "missing"),
    ],
    ids=["unclosed", "5000 digits", "deep", "binary", "wrong type", "empty"],
)
def test_a_file_called_toml_must_be_a_machine(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    for read in (open_any, read_config):
        with pytest.raises((InputError, ConfigError), match=said) as refused:
            read(path)
        assert str(refused.value).startswith(f"{path}: ")


def test_a_machine_in_a_file_without_suffix_may_still_be_one_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "machine"
    path.write_text('[cpus]\npossible = "many"\n')
    with pytest.raises(ConfigError, match="possible"):
        open_any(path)


def test_an_endless_number_in_a_file_that_is_not_called_toml_is_no_machine(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(b"[cpus]\npossible = " + b"1" * 5000 + b"\n")
    with pytest.raises(InputError, match="numbers"):
        open_any(path)


def test_what_begins_as_a_recording_must_be_one(tmp_path: Path) -> None:
    path = tmp_path / "torn"
    path.write_bytes(RECORDING.read_bytes()[:40])
    assert is_recording(path)
    with pytest.raises(RecordingError, match="torn"):
        open_any(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_garbage_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(content)
    with pytest.raises((InputError, ConfigError)) as refused:
        open_any(path)
    assert "garbage" in str(refused.value)


def test_a_machine_that_speaks_of_kmemscope_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    text = '# kmemscope machine\nname = "m"\ncpus.possible = "0"\nnode = [{memory_mib = 64}]\n'
    path.write_text(text)
    assert open_any(path).kind == "config"


DEBIAN = EXAMPLES / "debian-6.1.toml"


def test_a_machine_takes_names_from_a_file_of_symbols() -> None:
    config = read_config(DEBIAN)
    symbols = dict(config.symbols)
    assert (symbols["cpu_info"], symbols["runqueues"]) == (0x198C0, 0x31C40)
    assert config.percpu.static_bytes == 217088


def test_what_the_description_says_itself_overrules_the_file(tmp_path: Path) -> None:
    source = EXAMPLES.parent / "symbols" / "debian-6.1-amd64.gz"
    shutil.copyfile(source, tmp_path / "names.gz")
    text = DEBIAN.read_text().replace("../symbols/debian-6.1-amd64.gz", "names.gz")
    path = tmp_path / "own.toml"
    path.write_text(text + '[symbols]\ncpu_info = "0x40"\n[percpu]\nstatic_bytes = 217200\n')
    config = read_config(path)
    assert dict(config.symbols)["cpu_info"] == 0x40
    assert dict(config.symbols)["runqueues"] == 0x31C40
    assert config.percpu.static_bytes == 217200


@pytest.mark.parametrize(
    ("value", "what"),
    [("7", "expected the name of a file"), ('"missing.map"', "missing.map: No such file")],
)
def test_a_file_of_symbols_that_is_not_there_is_named(
    tmp_path: Path, value: str, what: str
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f"symbols_file = {value}\n[cpus]\npossible = '0'\n")
    with pytest.raises(InputError, match=what):
        read_machine_toml(path)
