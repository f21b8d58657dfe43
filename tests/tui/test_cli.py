"""The command line from outside: what it prints, where, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tomllib
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from snapshots.opening import read_config
from tests.child import command_line, running
from tui.cli import app
from tui.debugger.console import execute
from tui.debugger.session import Session

ROOT = Path(__file__).parents[2]
MACHINES = ROOT / "examples" / "machines"
NUMA2 = MACHINES / "numa2-4cpu.toml"


def kmemscope(*words: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], input=typed)


def process(*words: object, **options: object) -> AbstractContextManager[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    return running(command_line(*words), stdout=pipe, stderr=pipe, **options)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    config = MachineConfig.from_mapping(tomllib.loads(NUMA2.read_text()), where="x")
    session = Session.boot(config)
    for line in ("alloc 0 64", "alloc 1 32000", "free 2 0x37000", "alloc 3 8 atomic"):
        asyncio.run(execute(session, line))
    path = tmp_path / "run.kms"
    session.save(str(path))
    return path


# -- boot ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", sorted(MACHINES.glob("*.toml")), ids=lambda path: path.stem)
def test_boot_prints_the_kernel_log_line_by_line(machine: Path) -> None:
    plain, levels = kmemscope("boot", machine), kmemscope("boot", machine, "--levels")
    rows = json.loads(kmemscope("boot", machine, "--json").stdout)
    assert plain.exit_code == levels.exit_code == 0
    assert plain.stdout == "".join(f"{row['text']}\n" for row in rows)
    assert levels.stdout == "".join(f"<{row['level']}>{row['text']}\n" for row in rows)
    told = boot(read_config(machine)).system.boot_lines()
    assert all(f"{line.text}\n" in plain.stdout for line in told)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = [", "no TOML"),
        (b"\x7fELF\x00\x00", "binary"),
        (b"", "[cpus] possible: missing"),
        (b"name = 1\n[cpus]\npossible = 5", "possible"),
        (b"x = " + b"[" * 5000, "nested too deeply"),
        (b"# " + b"x" * (5 << 20), "1 MiB"),
        (b"# x\n" * (2 << 20), "4 MiB"),
        (b"\xff\xfe\xfd", "line 1"),
    ],
    ids=["unclosed", "binary", "empty", "wrong type", "deep", "endless line", "huge", "no utf-8"],
)
@pytest.mark.parametrize("verb", ["boot", "info"])
def test_a_bad_machine_is_refused_in_one_line(
    tmp_path: Path, verb: str, content: bytes, said: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    result = kmemscope(verb, path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("kmemscope: ") and result.stderr.count("\n") == 1
    assert said in result.stderr and "bad.toml" in result.stderr


def test_a_number_of_five_thousand_digits_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(b"x = " + b"1" * 5000)
    result = kmemscope("boot", path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "4300 digits" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("boot", "nowhere.toml"),
        ("boot", "."),
        ("info", "nowhere.kms"),
        ("replay", "nowhere.txt"),
        ("verify", "nowhere.kms"),
        ("verify", "."),
        ("digest", "nowhere.kms"),
        ("show", "nowhere.kms", "chunks"),
        ("script", "nowhere.txt"),
        ("import", "nowhere.txt", "-o", "out.kms"),
        ("open", "nowhere.kms"),
        ("console", "nowhere.kms"),
    ],
    ids=" ".join,
)
def test_a_file_that_is_not_there_is_named_in_one_line(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = kmemscope(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"kmemscope: {words[1]}: ") and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("--bad",), ("boot",), ("replay",), ("digest",), ("import", "x"), ("show", "x")]
)
def test_wrong_usage_is_code_2(words: tuple[str, ...]) -> None:
    result = kmemscope(*words)
    assert result.exit_code == 2 and "Usage:" in result.stderr


def test_a_word_too_long_to_be_a_name_is_no_file() -> None:
    result = kmemscope("9" * 5000)
    assert result.exit_code == 2 and "no such file or folder" in result.stderr


def test_a_mistyped_verb_is_answered_with_the_right_one() -> None:
    result = kmemscope("rpelay", "x")
    assert result.exit_code == 2 and "did you mean `kmemscope replay`?" in result.stderr


def test_a_file_needs_no_verb_and_a_screen_needs_a_terminal(recording: Path) -> None:
    for words in ((), (recording,), ("open", recording)):
        result = kmemscope(*words)
        assert result.exit_code == 2 and "needs a terminal" in result.stderr


# -- recordings ------------------------------------------------------------------------------------


def test_digest_prints_one_line_a_position(recording: Path) -> None:
    result = kmemscope("digest", recording, "--at", "0", "--at", "50%", "end", "0")
    lines = [line.split(" ") for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and len(lines) == 4
    assert lines[0] == lines[3] and lines[0][0] == "0"
    assert all(len(digest) == 32 for _, digest in lines)
    assert len({digest for _, digest in lines}) == 3


def test_digest_of_a_position_that_is_not_there_is_refused(recording: Path) -> None:
    result = kmemscope("digest", recording, "--at", "99999")
    assert result.exit_code == 2 and "expected 0 to" in result.stderr


def test_verify_believes_a_true_recording(recording: Path) -> None:
    assert kmemscope("verify", recording).exit_code == 0
    assert json.loads(kmemscope("verify", recording, "--json").stdout)["ok"] is True


def test_verify_of_a_cut_recording_is_code_1_or_2_and_never_a_traceback(recording: Path) -> None:
    whole = recording.read_bytes()
    for end in (0, 5, 60, len(whole) // 2, len(whole) - 1):
        recording.write_bytes(whole[:end])
        result = kmemscope("verify", recording)
        assert result.exit_code in (1, 2)
        assert result.stdout or result.stderr.startswith("kmemscope: ")


def test_info_tells_what_is_in_a_file(recording: Path) -> None:
    rows = json.loads(kmemscope("info", recording, "--json").stdout)["rows"]
    facts = {row["fact"]: row["value"] for row in rows}
    assert (facts["machine"], facts["inputs"], facts["chunks created"]) == ("numa2-4cpu", 4, 1)


def test_show_prints_a_view_at_a_position(recording: Path) -> None:
    at_start = kmemscope("show", recording, "areas", "first", "--at", "start", "--json")
    assert json.loads(at_start.stdout)["rows"] == []
    at_end = kmemscope("show", recording, "areas", "1")
    assert at_end.exit_code == 0 and "32000" in at_end.stdout
    assert kmemscope("show", recording, "areas", "-1").exit_code == 0
    assert kmemscope("show", recording, "stats").stdout.startswith("Percpu Memory Statistics\n")


def test_show_refuses_what_is_no_view(recording: Path) -> None:
    for view in ("nix", "alloc", "step"):
        result = kmemscope("show", recording, view)
        assert result.exit_code == 2 and "is no view" in result.stderr


# -- logs ------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of two allocations, the first free of which nobody saw the allocation of."""
    base = "base_addr=ffff88803ec37000"
    lines = [
        "# tracer: nop",
        f"  a-1 [000] ..... 1.000001: percpu_alloc_percpu: call_site=f+0x1/0x2 reserved=0"
        f" is_atomic=0 size=8 align=8 {base} off=0 ptr=0000000000037000 bytes_alloc=48"
        " gfp_flags=GFP_KERNEL",
        f"  b-2 [001] ..... 1.000002: percpu_alloc_percpu: call_site=g+0x1/0x2 reserved=0"
        f" is_atomic=0 size=64 align=8 {base} off=8 ptr=0000000000037008 bytes_alloc=384"
        " gfp_flags=GFP_KERNEL",
        f"  a-1 [000] ..... 1.000003: percpu_free_percpu: {base} off=0 ptr=0000000000037000",
    ]
    path = tmp_path / "trace.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_replay_ends_with_a_summary_and_its_code_says_whether_all_agreed(log: Path) -> None:
    result = kmemscope("replay", log, "--machine", NUMA2)
    report = json.loads(kmemscope("replay", log, "--machine", NUMA2, "--json").stdout)
    assert result.stdout.splitlines()[-1] == report["summary"]
    assert result.exit_code == (0 if report["ok"] else 1)
    assert report["operations"] >= 3


def test_import_writes_a_recording_that_remembers_the_log(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.kms"
    imported = kmemscope("import", log, "-o", out, "--machine", NUMA2)
    assert imported.stdout.splitlines()[-1] == f"saved to {out}"
    facts = json.loads(kmemscope("info", out, "--json").stdout)["rows"]
    assert {"fact": "source", "value": "trace.txt"} in facts
    areas = kmemscope("show", out, "areas", "0", "--json").stdout
    [row] = [row for row in json.loads(areas)["rows"] if row["offset"] == 8]
    assert (row["call_site"], row["task"], row["line"]) == ("g+0x1/0x2", "b-2", 3)


def test_a_log_is_never_written_over(log: Path) -> None:
    before = log.read_bytes()
    for verb in ("replay", "import"):
        result = kmemscope(verb, log, "-o", log, "--machine", NUMA2)
        assert result.exit_code == 2 and log.read_bytes() == before


def test_one_output_goes_with_one_log(log: Path, tmp_path: Path) -> None:
    assert kmemscope("replay", log, log, "-o", tmp_path / "x.kms").exit_code == 2
    assert not (tmp_path / "x.kms").exists()


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_text("shall I compare thee\nto a summer's day\n")
    result = kmemscope("replay", path)
    assert result.exit_code == 2 and result.stderr.startswith("kmemscope: ")


# -- scripts and the prompt ------------------------------------------------------------------------


def test_a_script_acts_on_the_example_and_prints_answers(tmp_path: Path) -> None:
    path = tmp_path / "commands.txt"
    path.write_text("# two calls\nalloc 0 64\nread 0 0x37000 4\n")
    for verb in ("script", "run"):
        result = kmemscope(verb, path)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[0] == "ptr 0x37000"


def test_a_script_can_come_from_stdin_and_go_to_json(recording: Path) -> None:
    result = kmemscope("script", "-", recording, "--json", typed="goto end\nslots\n")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and len(rows) == 2 and rows[1]["rows"]


def test_a_script_that_comes_to_a_fault_is_code_1() -> None:
    result = kmemscope("script", "-", NUMA2, typed="free 0 0x99999\nwhere\n")
    assert result.exit_code == 1 and "the machine stopped" in result.stdout


def test_a_wrong_line_of_a_script_is_code_2_after_what_came_before() -> None:
    result = kmemscope("script", "-", NUMA2, typed="alloc 0 64\nnix\nalloc 0 64\n")
    assert result.exit_code == 2
    assert result.stdout.startswith("ptr 0x37000") and "ptr 0x37040" not in result.stdout
    assert "stdin: line 2: there is no command 'nix'" in result.stderr


def test_the_prompt_goes_on_after_a_wrong_line_and_ends_with_its_input() -> None:
    result = kmemscope("console", NUMA2, typed="nix\nalloc 0 64\nquit\nalloc 0 64\n")
    assert result.exit_code == 0
    assert "there is no command 'nix'" in result.stdout
    assert result.stdout.count("ptr 0x") == 1


# -- a process among others ------------------------------------------------------------------------


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with process("script", "-", NUMA2, stdin=subprocess.PIPE) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdout.close()
        child.stdin.write(b"help\n" * 200)
        child.stdin.close()
        assert child.wait(timeout=60) == 141
        assert child.stderr.read() == b""


def test_an_interrupt_is_code_130_without_a_traceback(tmp_path: Path) -> None:
    fifo = tmp_path / "commands"
    os.mkfifo(fifo)
    # Opened at both ends first: one that opens it before there is a writer takes it for empty, and to open
    # the other end would then wait for ever. As much as is written here fits into a pipe.
    kept = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("w") as commands, process("script", fifo, NUMA2) as child:
        assert child.stdout and child.stderr
        commands.write("alloc 0 64\n" + "# and more to come\n" * 500)
        commands.flush()
        assert child.stdout.readline() == b"ptr 0x37000\n"  # it is at work
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 130
        assert child.stderr.read() == b"kmemscope: interrupted\n"
    os.close(kept)


def test_a_terminal_that_knows_only_ascii_is_not_a_traceback() -> None:
    env = {"PYTHONIOENCODING": "ascii"}
    with process("script", "-", NUMA2, stdin=subprocess.PIPE, env=env) as child:
        out, err = child.communicate(b"help\n", timeout=60)
    assert (child.returncode, err) == (0, b"") and out


def test_what_nobody_foresaw_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> MachineConfig:
        raise LookupError("nobody foresaw this")

    monkeypatch.setattr("snapshots.opening.read_config", broken)
    result = kmemscope("boot", NUMA2)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "a defect of kmemscope itself: LookupError: nobody foresaw this" in result.stderr
