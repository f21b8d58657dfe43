"""The one door to every replay: what a path is, what it needs, and that nothing ends in a traceback."""

from __future__ import annotations

import gzip
import json
import random
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError, KernelSimError
from snapshots.container.recording_file import RecordingWriter
from snapshots.errors import InputError
from snapshots.logs.replay import is_golden_first_line, replay_path
from snapshots.recording import RecordingSink, header_of, open_recording
from snapshots.timeline import SegmentSink
from snapshots.verify import verify_recording
from tests.snapshots.conftest import GOLDEN, events_of, inputs_of, plain_lines, short_segments

FORMATS = GOLDEN / "kernel-6.1" / "formats-2cpu"
EXAMPLES = Path(__file__).parents[3] / "examples" / "machines"
SCRATCH = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def try_replay(path: Path) -> str:
    """Replay what may be anything; returns what was said. Nothing but our errors may come out."""
    try:
        report = replay_path(path)
    except KernelSimError as error:
        assert "\n" not in str(error)
        return str(error)
    return report.summary


# -- what a path is -------------------------------------------------------------------------------------


def test_a_folder_a_log_with_its_boot_messages_and_a_golden_file_are_told_apart(
    tmp_path: Path,
) -> None:
    assert replay_path(FORMATS).kind == "machine"
    golden = GOLDEN / "percpu-bitmap" / "a01-first-alloc.jsonl.gz"
    assert replay_path(golden).kind == "golden"
    renamed = tmp_path / "trace.txt"
    renamed.write_text("".join(plain_lines(golden)))
    assert replay_path(renamed).kind == "golden", "read from its content, never from its name"
    both = tmp_path / "both.log"
    both.write_text(
        "[    0.000000] "
        + "".join(plain_lines(FORMATS / "version"))
        + "".join(plain_lines(FORMATS / "dmesg-percpu.txt"))
        + "".join(plain_lines(FORMATS / "trace.txt.gz"))
    )
    report = replay_path(both)
    assert (report.kind, report.mode, report.divergences) == ("machine", "predicted", [])


def bare_log(tmp_path: Path) -> Path:
    path = tmp_path / "trace.txt"
    path.write_text("".join(plain_lines(FORMATS / "trace.txt.gz")))
    return path


def test_a_machine_given_beside_a_log_is_used(tmp_path: Path) -> None:
    machine = tomllib.loads((EXAMPLES / "up1.toml").read_text())
    machine |= {"name": "two", "cpus": {"possible": "0-1"}}
    report = replay_path(bare_log(tmp_path), machine)
    assert report.timeline is not None
    assert report.timeline.machine.config.name == "two"
    assert not any("the machine is not known" in note for note in report.notes)


def test_a_machine_that_the_log_contradicts_is_not_used(tmp_path: Path) -> None:
    machine = tomllib.loads((EXAMPLES / "up1.toml").read_text())
    report = replay_path(bare_log(tmp_path), machine)
    assert report.mode == "observed"
    assert report.notes
    assert report.timeline is not None
    assert len(report.timeline.machine.cpus) == 2


def test_a_machine_of_another_system_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "trace.txt"
    log.write_text("".join(plain_lines(FORMATS / "trace.txt.gz")))
    for name in ("legacy-static", "chunk-2009"):
        machine = tomllib.loads((EXAMPLES / f"{name}.toml").read_text())
        with pytest.raises(InputError, match=f"has system '{name}'; a log is compared .* 'bitmap'"):
            replay_path(log, machine)


def test_a_machine_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="turbo"):
        replay_path(FORMATS, {"name": "x", "turbo": 1})


def test_the_first_line_of_a_golden_file_is_known() -> None:
    assert is_golden_first_line('{"format": "percpu-golden", "version": 1}')
    for line in ("", "{", "[]", "{}", '{"format": 5}', '{"format":"other"}', '{"a":' * 5000):
        assert not is_golden_first_line(line)


@pytest.mark.parametrize("name", ["none", "folder", "empty", "binary", "pipe/none"])
def test_what_is_no_run_is_refused_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=name):
        replay_path(tmp_path / name)


def test_a_folder_without_a_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dmesg.txt").write_text("".join(plain_lines(FORMATS / "dmesg-percpu.txt")))
    with pytest.raises(InputError, match=r"no trace; expected trace\.txt"):
        replay_path(tmp_path)


@pytest.mark.parametrize("path", [FORMATS, GOLDEN / "kernel-6.1" / "lost-events-2cpu"])
def test_a_replay_can_be_recorded_while_it_goes_on(tmp_path: Path, path: Path) -> None:
    out = tmp_path / "out.kms"
    sinks: list[RecordingSink] = []

    def sink_for(config: MachineConfig) -> SegmentSink:
        sinks.append(RecordingSink(RecordingWriter.create(out, header_of(config))))
        return sinks[-1]

    with short_segments(100):
        report = replay_path(path, None, sink_for)
        assert report.timeline is not None
        sinks[0].finish(report.timeline, report.origin())
        sinks[0].writer.close()
        assert verify_recording(out) == []
        opened = open_recording(out)
    assert len(sinks) == 1
    assert len(opened.timeline.heads) > 5
    assert inputs_of(opened.timeline) == inputs_of(report.timeline)
    assert events_of(opened.timeline) == events_of(report.timeline)
    assert opened.origin == report.origin()
    opened.reader.close()


# -- anything at all ------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        "percpu_alloc_percpu:", "percpu_free_percpu:", "percpu_create_chunk:", "base_addr=", "off=",
        "ptr=", "size=8", " [000] ", "d..1.", "0.000000:", "<idle>-0", "\n", " ", "ffff888001000000",
        "-1", "99999999999999999999", "percpu: Embedded 62 pages/cpu s217088 r8192 d28672 u1048576",
        "{", "}", '"format":"percpu-golden"', '"op":"alloc"', ",", "[", "\x00", "\x1f\x8b",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@SCRATCH
@given(st.one_of(st.text(), st.lists(WORDS, max_size=40).map("".join)))
def test_random_text_ends_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "input"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert try_replay(path)


@SCRATCH
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_end_in_words(tmp_path: Path, data: bytes, zipped: bool) -> None:
    path = tmp_path / "input"
    path.write_bytes(gzip.compress(data) if zipped else data)
    assert try_replay(path)


@SCRATCH
@given(st.lists(JSON, max_size=5), st.booleans())
def test_random_json_ends_in_words(tmp_path: Path, rows: list[object], golden: bool) -> None:
    path = tmp_path / "input"
    header = ['{"format":"percpu-golden","config":{}}'] if golden else []
    path.write_text("\n".join([*header, *map(json.dumps, rows)]))
    assert try_replay(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"format":"percpu-golden","a":' + "[" * 50_000,
        '{"format":"percpu-golden"}\n{"a":' + "[" * 50_000,
        '{"format":"percpu-golden","config":' + "9" * 5000 + "}",
    ],
)
def test_deep_and_long_json_ends_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "input"
    path.write_text(text)
    assert try_replay(path)


def mutated_text(text: str, chance: random.Random) -> str:
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(text) + 1)
        end = min(len(text), at + chance.choice([0, 1, 1, 3, 10, 80]))
        new = chance.choice(
            ["", "\n", "0", "x", "[", '"', "-", "9" * 30, text[end : end + 20], "1"]
        )
        text = text[:at] + new + text[end:]
    return text


def mutated_rows(lines: list[str], chance: random.Random) -> str:
    rows = [json.loads(line) for line in lines]
    for _ in range(chance.randrange(1, 4)):
        row = chance.choice(rows)
        holder = chance.choice([row, row.get("config", row)])
        key = chance.choice(list(holder))
        holder[key] = chance.choice([None, -1, 0, 1 << 40, 3.5, "x", [], {}, [[]], True, [None, 1]])
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a01-first-alloc", "a05-free-all-balance", "a18-km-atomic"])
def test_mutated_golden_files_end_in_words(tmp_path: Path, name: str) -> None:
    lines = plain_lines(GOLDEN / "percpu-bitmap" / f"{name}.jsonl.gz")
    chance = random.Random(name)
    path = tmp_path / "input"
    for _ in range(60):
        path.write_text(mutated_text("".join(lines), chance))
        assert try_replay(path)
        path.write_text(mutated_rows(lines, chance))
        assert try_replay(path)


def test_mutated_layout_cases_end_in_words(tmp_path: Path) -> None:
    lines = plain_lines(GOLDEN / "percpu-bitmap" / "c01-alloc-info.jsonl.gz")[:12]
    chance = random.Random(5)
    path = tmp_path / "input"
    for _ in range(60):
        path.write_text(mutated_text("".join(lines), chance))
        assert try_replay(path)
        path.write_text(mutated_rows(lines, chance))
        assert try_replay(path)


def mutate_folder(tmp_path: Path, chance: random.Random, nr_lines: int) -> None:
    """A machine's folder whose log or boot messages somebody scribbled in."""
    trace = plain_lines(FORMATS / "trace.txt.gz")[:nr_lines]
    boot = plain_lines(FORMATS / "dmesg-percpu.txt")
    which = chance.choice(["trace", "trace", "boot"])
    (tmp_path / "trace.txt").write_text(
        mutated_text("".join(trace), chance) if which == "trace" else "".join(trace)
    )
    (tmp_path / "dmesg.txt").write_text(
        mutated_text("".join(boot), chance) if which == "boot" else "".join(boot)
    )
    (tmp_path / "version").write_text("Linux version 6.1.0-56-amd64 (x)\n")


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_machine_folders_end_in_words(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(15):
        mutate_folder(tmp_path, chance, 60)
        assert try_replay(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 16))
def test_mutated_machine_folders_of_a_long_campaign_end_in_words(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        mutate_folder(tmp_path, chance, 200)
        assert try_replay(tmp_path)
