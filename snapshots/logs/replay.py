"""Replay anything that can be replayed: a golden file, a machine's folder, a bare log.

    golden file     first line is its header         every line compared
    folder          dmesg, sys/, trace, states …     predicted, or observed with the reason
    log             ftrace text, with dmesg lines in it, or a machine given beside it
    exported log    its first line says so           the same recording again

What a path is, is read from its content, never from its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from kernel_sim.alignment import align_down
from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.percpu.catalogue import DEFAULT_SYSTEM
from snapshots.errors import InputError, TraceError
from snapshots.export.ftrace_import import import_exported, is_exported_first_line
from snapshots.logs.allocator_state import AllocatorState
from snapshots.logs.areamap_replay import is_areamap_header, replay_areamap
from snapshots.logs.completeness import Completeness, judge, lost_by_tracer
from snapshots.logs.early_allocs import EarlyAlloc, early_allocs_for, parse_early_allocs
from snapshots.logs.ftrace import parse_trace
from snapshots.logs.golden_replay import is_golden_header, replay_golden
from snapshots.logs.guess import guess_mapping
from snapshots.logs.machine_replay import LogReplay
from snapshots.logs.modalloc_replay import is_modalloc_header, replay_modalloc
from snapshots.logs.observed import ObservedReplay
from snapshots.logs.real_machine import (
    DIRECT_MAPS,
    RealMachine,
    find_companions,
    machine_mapping,
    read_machine_folder,
)
from snapshots.logs.report import ReplayReport
from snapshots.logs.text_source import read_lines
from snapshots.logs.trace_log import TraceLog, pcpu_base_addr_from, possible_cpus_from
from snapshots.segment_stores import SegmentSink

Mapped = Mapping[str, object]

GOLDEN_KINDS: tuple[
    tuple[Callable[[object], bool], Callable[[str, Iterable[str]], ReplayReport]], ...
] = (
    (is_modalloc_header, replay_modalloc),
    (is_areamap_header, replay_areamap),
    (is_golden_header, replay_golden),
)
"""Whose header it is, and who replays the file; the first that knows it does."""


@dataclass(slots=True)
class LogJob:
    """A log and all that is known about its machine."""

    path: str
    log: TraceLog
    mapping: dict[str, object] | None = None  # as a machine TOML; None: unknown
    early: tuple[EarlyAlloc, ...] | None = None  # None: take the list that ships for the version
    states: Iterable[AllocatorState] = ()
    reasons: list[str] = field(default_factory=list)  # why it cannot be predicted
    config: MachineConfig | None = None


def replay_path(
    path: Path,
    machine: Mapped | None = None,
    sink_for: Callable[[MachineConfig], SegmentSink] | None = None,
) -> ReplayReport:
    """Replay a path; machine is a machine's TOML as a mapping, for a log that does not tell it.

    sink_for makes, once the machine is known, whoever takes the finished segments of the run.
    Raises InputError or ConfigError if it cannot be read or cannot be.
    """
    if path.is_dir():
        return replay_log(_folder_job(path, machine), sink_for)
    lines = read_lines(path)
    first = next(lines, "")
    replay_golden_file = _golden_replay_of(first)
    if replay_golden_file is not None:
        return replay_golden_file(str(path), chain([first], lines))
    if is_exported_first_line(first):
        report = import_exported(chain([first], lines), str(path), sink_for)
        if machine is not None:
            report.notes.append("the machine given beside it was not needed: the log tells its own")
        return report
    return replay_log(_bare_job(path, machine), sink_for)


def is_golden_first_line(line: str) -> bool:
    """Say whether a file that begins so is a golden file."""
    return _golden_replay_of(line) is not None


def _golden_replay_of(line: str) -> Callable[[str, Iterable[str]], ReplayReport] | None:
    """Return who replays a golden file that begins so; None if it is none."""
    if not line.startswith("{"):
        return None
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return next((replay for is_of, replay in GOLDEN_KINDS if is_of(header)), None)


def _folder_job(path: Path, machine: Mapped | None) -> LogJob:
    real = read_machine_folder(path)
    if real.trace_path is None:
        raise InputError(f"{path}: no trace; expected trace.txt or trace.txt.gz")
    log = parse_trace(read_lines(real.trace_path), str(real.trace_path))
    job = LogJob(str(path), log, dict(machine) if machine else None, states=real.states())
    job.reasons += lost_by_tracer(real)
    if job.mapping is None and real.boot is not None:
        job.mapping = machine_mapping(real, pcpu_base_addr=_direct_base(log))
    if real.early_path is not None:
        job.early = parse_early_allocs(read_lines(real.early_path), str(real.early_path))
    return job


def _bare_job(path: Path, machine: Mapped | None) -> LogJob:
    log = parse_trace(read_lines(path), str(path))
    job = LogJob(str(path), log, dict(machine) if machine else None)
    boot = find_companions(path) if machine is None else None
    if boot is not None and boot.setup is not None:
        alone = RealMachine(
            folder=path, boot=boot, release=boot.release, command_line=boot.command_line, cpus=None,
            nodes=(), percpu_symbols={}, kernel_symbols={}, trace_stats=(), trace_path=path,
            early_path=None, states_path=None,
        )  # fmt: skip
        job.mapping = machine_mapping(alone, pcpu_base_addr=_direct_base(log))
    return job


def _direct_base(log: TraceLog) -> int | None:
    return pcpu_base_addr_from(log.events)


def replay_log(
    job: LogJob, sink_for: Callable[[MachineConfig], SegmentSink] | None = None
) -> ReplayReport:
    """Predict the log if that is possible, else observe it and say why."""
    base = pcpu_base_addr_from(job.log.events)
    if job.mapping is None:
        job.reasons.append(
            "the machine is not known: give --machine TOML, or a log with its dmesg lines"
        )
        mapping = guess_mapping(job.log, base)
    else:
        mapping = dict(job.mapping)
        mapping["work"] = {"mode": "scripted"}
        mapping.setdefault("tlb", {"profile": "none"})  # a log says nothing of them
    config = MachineConfig.from_mapping(mapping, where=job.path)
    if config.percpu.system != DEFAULT_SYSTEM:
        raise InputError(
            f"{job.path}: {config.name} has system {config.percpu.system!r}; a log is compared with what"
            f" {DEFAULT_SYSTEM!r} does; expected a machine of that, or the log as it was exported, with its"
            " comments"
        )
    contradiction = _contradiction(config, job.log)
    if contradiction:
        job.reasons.append(contradiction)
        config = MachineConfig.from_mapping(guess_mapping(job.log, base), where=job.path)
    config = _with_real_places(config, job.log, base)
    early = job.early if job.early is not None else early_allocs_for(config.kernel.version)
    unit_bytes = config.alloc_info().unit_size_bytes
    completeness = judge(job.log, early, base, unit_bytes)
    completeness.reasons = [*job.reasons, *completeness.reasons]
    if not completeness.is_complete:
        return _observe(job, config, completeness, sink_for(config) if sink_for else None)
    sink = sink_for(config) if sink_for else None
    run = LogReplay(job.path, config, job.log, early, job.states, sink)
    run.prepare()
    late = run.why_late()
    if late:
        completeness.reasons.append(late)
        return _observe(job, config, completeness, sink)
    return run.run()


def _contradiction(config: MachineConfig, log: TraceLog) -> str:
    """Say so if the log cannot be this machine's: it tells how many CPUs are possible."""
    nr_possible = len(config.cpus.possible)
    cpus = {event.cpu: event.line_no for event in log.events if event.cpu is not None}
    strange = [cpu for cpu in cpus if cpu not in config.cpus.possible]
    if strange:
        return (
            f"another machine: line {cpus[strange[0]]} is of CPU {strange[0]}, which {config.name}"
            f" does not have ({nr_possible} possible CPUs)"
        )
    misplaced = _misplaced(config, log)
    if misplaced:
        return misplaced
    try:
        counted = possible_cpus_from(log.events, nr_online=log.nr_cpus)
    except TraceError:
        return ""
    if counted is None or counted == nr_possible:
        return ""
    return f"another machine: by bytes_alloc {counted} CPUs are possible, {config.name} has {nr_possible}"


def _misplaced(config: MachineConfig, log: TraceLog) -> str:
    """Say so if the chunks of the first unit begin elsewhere than this machine's sizes put them."""
    base = pcpu_base_addr_from(log.events)
    if base is None:
        return ""
    info = config.alloc_info()
    regions = [region for region in (info.reserved_region(), info.dynamic_region()) if region]
    places = {base + region.base_offset_bytes for region in regions}
    for event in log.events:
        inside = base <= event.base_addr < base + info.size_sum_bytes
        if event.kind in ("alloc", "free") and inside and event.base_addr not in places:
            return (
                f"another machine: line {event.line_no} has a chunk of the first unit at offset"
                f" {event.base_addr - base:#x}, which static and reserved size of {config.name}"
                f" do not give"
            )
    return ""


def _observe(
    job: LogJob,
    config: MachineConfig,
    completeness: Completeness,
    sink: SegmentSink | None,
) -> ReplayReport:
    return ObservedReplay(job.path, config, job.log, completeness, sink).run()


def _with_real_places(config: MachineConfig, log: TraceLog, base: int | None) -> MachineConfig:
    """Put the first chunk where the log's pointers say it was, as far as they say it."""
    if config.percpu.group_phys or config.percpu.first_chunk == "page" or base is None:
        return config
    info = config.alloc_info()
    lowest = base - DIRECT_MAPS[config.kernel.page_table_levels][0]
    phys = [lowest + group.base_offset_bytes for group in info.groups]
    first_created = next((event.base_addr for event in log.events if event.kind == "create"), None)
    if len(phys) > 1 and first_created is not None:
        top = align_down(config.vmalloc.end, info.atom_size_bytes)
        last_bytes = info.group_size_bytes(info.groups[-1])
        phys[-1] = lowest + top - last_bytes - first_created
    try:
        mapping = config.to_mapping()
        percpu = dict(mapping["percpu"])  # type: ignore[call-overload]
        percpu["group_phys"] = [f"{addr:#x}" for addr in phys]
        return MachineConfig.from_mapping(
            mapping | {"percpu": percpu}, where="first chunk by the log"
        )
    except ConfigError:
        return config  # the log's addresses do not lie in this machine's memory: KASLR, or a guess
