"""Open any file that holds a run: a recording, a real machine's folder or log, a golden file, a machine.

What a file is, is read from its content: recordings begin with their magic, golden files with their
header, machines are TOML with a [[node]] or [cpus] table; everything else is tried as a log.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernel_sim.boot import boot
from kernel_sim.config import SYMBOLS_MAX, MachineConfig
from snapshots.bookmarks import Bookmark
from snapshots.branches import BranchTree
from snapshots.errors import InputError
from snapshots.logs.kernel_symbols import read_kernel_symbols
from snapshots.logs.replay import replay_path
from snapshots.logs.text_source import read_text
from snapshots.recording import OpenRecording, Origin, open_recording
from snapshots.timeline import Timeline

RECORDING_MAGIC = b"\x95\xa9kmemscope"  # a msgpack array of five, and its first text
TOML_BYTES_MAX = 4 << 20
SYMBOLS_KEY = "symbols_file"


@dataclass(slots=True)
class Opened:
    """A run that can be gone through, and what is to be said about it."""

    tree: BranchTree
    origin: Origin
    name: str
    kind: str  # 'recording' | 'machine' | 'trace' | 'golden' | 'config'
    lines: list[str] = field(default_factory=list)  # what a replay reported, warnings
    bookmarks: dict[str, Bookmark] = field(default_factory=dict)
    path: Path | None = None  # of a recording, to which more can be added
    recording: OpenRecording | None = None  # that very one, to follow it

    @property
    def timeline(self) -> Timeline:
        """The main branch."""
        return self.tree.current.timeline


def is_recording(path: Path) -> bool:
    """Say whether a file begins as a recording does. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(RECORDING_MAGIC)) == RECORDING_MAGIC
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror or problem}") from problem


def read_machine_toml(path: Path) -> dict[str, object]:
    """Return a machine's TOML as a mapping, with the symbols of the file that symbols_file names.

    Raises InputError, with line and column.
    """
    text = read_text(path, limit_bytes=TOML_BYTES_MAX)
    try:
        mapping = tomllib.loads(text)
    except ValueError as problem:  # TOMLDecodeError, and integers of more digits than Python takes
        raise InputError(f"{path}: no TOML: {problem}") from problem
    except RecursionError as problem:
        raise InputError(f"{path}: no TOML: nested too deeply") from problem
    return with_symbols(mapping, path)


def with_symbols(mapping: dict[str, object], path: Path) -> dict[str, object]:
    """Return a machine's mapping with its symbols_file read: its names, and the static section's size.

    The path is relative to the folder of path; [symbols] and [percpu] static_bytes overrule it.
    Raises: InputError.
    """
    if SYMBOLS_KEY not in mapping:
        return mapping
    name = mapping[SYMBOLS_KEY]
    if not isinstance(name, str) or not name:
        raise InputError(f"{path}: {SYMBOLS_KEY}: {name!r:.60}; expected the name of a file")
    found = read_kernel_symbols(path.parent / name)
    merged = {key: value for key, value in mapping.items() if key != SYMBOLS_KEY}
    own, percpu = merged.get("symbols", {}), merged.get("percpu", {})
    if isinstance(own, dict):
        merged["symbols"] = found.for_config(SYMBOLS_MAX - len(own)) | own
    if isinstance(percpu, dict):
        merged["percpu"] = {"static_bytes": found.static_bytes} | percpu
    return merged


def read_config(path: Path) -> MachineConfig:
    """Return the machine that a TOML file describes. Raises InputError or ConfigError."""
    return MachineConfig.from_mapping(read_machine_toml(path), where=str(path))


def open_any(path: Path, machine: Mapping[str, object] | None = None) -> Opened:
    """Open a file or folder by its content and stand at its first step.

    machine is the mapping of a machine's TOML, for a log that does not tell its machine.
    Raises InputError or ConfigError with the reason.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_file():
        if is_recording(path):
            opened = open_recording(path)
            kind = "recording"
            return Opened(
                opened.tree,
                opened.origin,
                path.name,
                kind,
                opened.warnings,
                opened.bookmarks,
                path,
                opened,
            )
        if _looks_like_machine(path):
            config = read_config(path)
            return Opened(BranchTree.of(Timeline(boot(config))), Origin(), config.name, "config")
    report = replay_path(path, machine)
    if report.timeline is None:
        raise InputError(f"{path}: holds no run of a machine; `kmemscope replay {path}` checks it")
    timeline = report.timeline
    timeline.watch = None
    timeline.seek(timeline.first_step)
    return Opened(BranchTree.of(timeline), report.origin(), path.name, report.kind, report.lines())


def _looks_like_machine(path: Path) -> bool:
    """Say whether a file is a machine's TOML; one that is called so must be, or is refused."""
    if path.suffix == ".toml":
        read_machine_toml(path)
        return True
    if path.stat().st_size > TOML_BYTES_MAX:
        return False
    try:
        mapping = read_machine_toml(path)
    except InputError:
        return False
    return "node" in mapping or "cpus" in mapping
