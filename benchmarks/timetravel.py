"""What going back costs, side by side with the three simple ways of doing it, at growing lengths.

    ours          keyframes and re-execution, in a file
    deepcopy      copy.deepcopy of the machine after every operation
    pickle        pickle.dumps of the machine's parts after every operation
    from start    nothing kept: boot, and all inputs again

The simple ways are measured as far as they go in reasonable time; their memory is what one state takes.
"""

from __future__ import annotations

import copy
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import workload
from kernel_sim.boot import boot
from kernel_sim.inputs import apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts
from kernel_sim.random_state import RandomState
from snapshots.container.recording_file import RecordingWriter
from snapshots.recording import Origin, RecordingSink, header_of, open_recording
from snapshots.timeline import NO_LIMIT, Timeline
from tui.garbage import collect_rarely

LENGTHS = (10_000, 100_000, 1_000_000)
COPIES = 40  # states copied for the simple ways
AIMS = {
    "time travel: recording on / off": "<= 1.25",
    "time travel: step back p99 ms (ours, 1000000": "< 16",
    "time travel: seek p99 ms (ours, 1000000": "< 100",
    "time travel: bytes per operation (1000000": "<= 16",
    "time travel: open s (1000000": "< 0.5",
    "time travel: memory MiB of a reader (1000000": "< 300",
    "time travel: step back p50, longest / shortest": "about 1",
}
Rows = dict[str, float]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def record(path: Path, nr_ops: int) -> None:
    """Write a synthetic run of so many operations, as it goes on."""
    header = header_of(workload.machine().config)
    with RecordingWriter.create(path, header, overwrite=True) as writer:
        sink = RecordingSink(writer)
        sink.finish(workload.record(nr_ops, sink), Origin())


def run_bare(machine: Machine, source: Timeline) -> Machine:
    """Give a machine all inputs of a run; nothing is kept."""
    for number in range(len(source.heads)):
        for given in source.body(number).inputs:
            apply_input(machine, given)
            machine.run(NO_LIMIT)
            machine.take_events()
    return machine


def record_again(source: Timeline, path: Path) -> None:
    """Record all inputs of a run anew into a file."""
    config = source.machine.config
    with RecordingWriter.create(path, header_of(config), overwrite=True) as writer:
        sink = RecordingSink(writer)
        timeline = Timeline(boot(config), sink)
        for number in range(len(source.heads)):
            for given in source.body(number).inputs:
                timeline.take(given.do, given.cpu, given.args, given.line, given.by)
        sink.finish(timeline, Origin())


def overhead(rows: Rows, name: str, source: Timeline, path: Path) -> None:
    """Measure recording on against off, taking turns so that both meet the same weather."""
    config = source.machine.config
    for number in range(len(source.heads)):
        source.body(number)  # unpacking is not what is measured
    bare, recorded = [], []
    for _ in range(5):
        bare.append(timed(lambda: run_bare(boot(config), source)))
        recorded.append(timed(lambda: record_again(source, path)))
    rows[f"time travel: operations/s, recording off ({name})"] = source.nr_inputs / min(bare)
    rows[f"time travel: operations/s, recording on ({name})"] = source.nr_inputs / min(recorded)
    rows[f"time travel: recording on / off, time ({name})"] = min(recorded) / min(bare)


def of_reader(path: Path, nr_moves: int) -> Rows:
    """Measure opening, seeking, stepping back and memory in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.timetravel", str(path), str(nr_moves)],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    found: Rows = json.loads(answer.stdout)
    return found


def read(path: Path, nr_moves: int) -> Rows:
    """Open a recording, go about in it, and return what that cost."""
    import resource

    collect_rarely()
    at_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opening = timed(lambda: open_recording(path).reader.close())
    timeline = open_recording(path).timeline
    random = RandomState.from_seed(7)
    seeks: list[float] = []
    backs: list[float] = []
    for _ in range(nr_moves):
        step = 1 + random.below(timeline.end_step)
        seeks.append(1000 * timed(lambda step=step: timeline.seek(step)))
        for _ in range(5):
            target = max(timeline.step - 1, 0)
            backs.append(1000 * timed(lambda target=target: timeline.seek(target)))
    rows = {"open s": opening}
    for what, values in (("seek", seeks), ("step back", backs)):
        rows[f"{what} p50 ms"] = statistics.median(values)
        rows[f"{what} p99 ms"] = sorted(values)[int(len(values) * 0.99)]
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return rows | {"memory MiB": used / 1024, "memory MiB, at first": at_first / 1024}


def simple_ways(rows: Rows, source: Timeline) -> None:
    """Measure the three simple ways on the state in which a run ends."""
    machine = run_bare(boot(source.machine.config), source)
    copies: list[object] = []
    rows["time travel: a step recorded ms (deepcopy)"] = statistics.median(
        1000 * timed(lambda: copies.append(copy.deepcopy(machine))) for _ in range(COPIES)
    )
    packed = [b""]

    def pickle_state() -> None:
        packed[0] = pickle.dumps(dump_parts(machine), protocol=pickle.HIGHEST_PROTOCOL)

    rows["time travel: a step recorded ms (pickle)"] = statistics.median(
        1000 * timed(pickle_state) for _ in range(COPIES)
    )
    rows["time travel: bytes per operation (pickle)"] = len(packed[0])


def measure(quick: bool) -> Rows:
    """Run all measurements."""
    rows: Rows = {}
    lengths = LENGTHS[:2] if quick else LENGTHS
    backs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.kms"
        for nr_ops in lengths:
            record(path, nr_ops)
            found = of_reader(path, 40 if quick else 200)
            for name in ("seek p50 ms", "seek p99 ms", "step back p50 ms", "step back p99 ms"):
                rows[f"time travel: {name} (ours, {nr_ops} operations)"] = found[name]
            backs.append(found["step back p50 ms"])
            rows[f"time travel: open s ({nr_ops} operations)"] = found["open s"]
            rows[f"time travel: memory MiB of a reader ({nr_ops} operations)"] = found["memory MiB"]
            rows[f"time travel: bytes per operation ({nr_ops} operations)"] = (
                path.stat().st_size / nr_ops
            )
            if nr_ops <= LENGTHS[1]:
                source = open_recording(path).timeline
                rows[f"time travel: step back ms (from start, {nr_ops} operations)"] = 1000 * timed(
                    lambda source=source: run_bare(boot(source.machine.config), source)
                )
            if nr_ops == LENGTHS[0]:
                again = Path(folder) / "again.kms"
                overhead(rows, "no TLBs, as in replays", source, again)
                overhead(rows, "TLBs, as by default", workload.record(4_000, tlb="skylake"), again)
                simple_ways(rows, source)
    rows["time travel: step back p50, longest / shortest run"] = backs[-1] / backs[0]
    return rows


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), int(sys.argv[2]))))
