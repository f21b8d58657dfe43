"""`make bench`: what we promise, measured side by side in one run, as a table and as JSON.

    python -m benchmarks [--quick] [--json FILE]

Absolute figures depend on the machine and on what else it does; ratios within one run hold.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import growth, screen, timetravel, workload
from benchmarks.timetravel import record_again, timed
from kernel_sim.boot import boot
from kernel_sim.inputs import apply_input
from kernel_sim.machine import Machine
from kernel_sim.random_state import RandomState
from snapshots.container.recording_file import RecordingWriter
from snapshots.logs.replay import replay_path
from snapshots.opening import open_any
from snapshots.recording import Origin, RecordingSink, header_of, open_recording
from snapshots.timeline import NO_LIMIT, Timeline
from tui.garbage import collect_rarely

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "golden" / "kernel-6.1" / "smp2-1node"
LARGEST_REAL = SHARED if SHARED.is_dir() else ROOT / "tests" / "golden" / "kernel-6.1" / "up1"
AIMS = (
    {
        "replayed ops/s, recording on (real trace)": ">= 50000",
        "replayed ops/s, recording on (synthetic)": ">= 50000",
        "step back p99 ms": "< 16",
        "seek p99 ms": "< 100",
        "open s": "< 0.5",
        "key press to painted frame p99 ms": "< 50",
    }
    | growth.AIMS
    | timetravel.AIMS
)
Rows = dict[str, float]


def best_of(times: int, work: Callable[[], object]) -> float:
    """Return the shortest of several runs: the others were disturbed."""
    return min(timed(work) for _ in range(times))


def feed(machine: Machine, source: Timeline) -> None:
    """Give a machine the inputs of a run, without recording anything."""
    for number in range(len(source.heads)):
        for given in source.body(number).inputs:
            while machine.step < given.step and machine.run(given.step):
                pass
            apply_input(machine, given)
            machine.take_events()
    machine.run(NO_LIMIT)


def replay_rates(rows: Rows, name: str, source: Timeline, path: Path) -> None:
    """Measure a run without and with recording."""
    config = source.machine.config
    nr_ops = source.nr_inputs
    bare = best_of(3, lambda: feed(boot(config), source))
    recorded = best_of(3, lambda: record_again(source, path))
    rows[f"replayed ops/s, recording off ({name})"] = nr_ops / bare
    rows[f"replayed ops/s, recording on ({name})"] = nr_ops / recorded
    rows[f"recording on / off, time ({name})"] = recorded / bare
    rows[f"bytes per operation on disk ({name})"] = path.stat().st_size / nr_ops


def latencies(rows: Rows, name: str, path: Path, nr_moves: int) -> None:
    """Measure opening, random seeks and single steps back."""
    rows[f"open s ({name})"] = best_of(3, lambda: open_recording(path).reader.close())
    opened = open_recording(path)
    timeline = opened.timeline
    random = RandomState.from_seed(7)
    seeks: list[float] = []
    backs: list[float] = []
    for _ in range(nr_moves):
        step = 1 + random.below(timeline.end_step)
        seeks.append(1000 * timed(lambda step=step: timeline.seek(step)))
        for back in range(1, 4):
            target = max(timeline.step - 1, 0)
            backs.append(1000 * timed(lambda target=target: timeline.seek(target)))
            _ = back
    for what, values in (("seek", seeks), ("step back", backs)):
        rows[f"{what} p50 ms ({name})"] = statistics.median(values)
        rows[f"{what} p99 ms ({name})"] = sorted(values)[int(len(values) * 0.99)]
    opened.reader.close()


def measure(quick: bool) -> Rows:
    """Run all measurements."""
    rows: Rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.kms"
        start = time.perf_counter()
        report = replay_path(LARGEST_REAL)
        seconds = time.perf_counter() - start
        rows["whole replay of the largest real log, ops/s (parse, infer, run, compare)"] = (
            report.nr_operations / seconds
        )
        assert report.timeline is not None
        report.timeline.watch = None
        replay_rates(rows, "real trace", report.timeline, path)
        latencies(rows, "largest real trace", path, 30 if quick else 200)
        nr_ops = 50_000 if quick else 1_000_000
        small = workload.record(20_000 if quick else 60_000)
        replay_rates(rows, "synthetic", small, path)
        with RecordingWriter.create(
            path, header_of(small.machine.config), overwrite=True
        ) as writer:
            sink = RecordingSink(writer)
            start = time.perf_counter()
            large = workload.record(nr_ops, sink)
            sink.finish(large, Origin())
            rows[f"synthetic {nr_ops} ops: recorded ops/s, workload included"] = nr_ops / (
                time.perf_counter() - start
            )
        rows[f"bytes per operation on disk ({nr_ops} ops)"] = path.stat().st_size / nr_ops
        del large
        latencies(rows, f"{nr_ops} ops", path, 30 if quick else 200)
        nr_ops = 5_000 if quick else 20_000
        for tlb in ("none", "skylake"):
            start = time.perf_counter()
            workload.record(nr_ops, tlb=tlb)
            rows[f"synthetic, TLB {tlb}: ops/s, workload included"] = nr_ops / (
                time.perf_counter() - start
            )
        demo = open_any(ROOT / "examples" / "demo.kms")
        rows |= screen.measure(demo, 20 if quick else 100)
    rows |= timetravel.measure(quick)
    rows |= growth.measure(quick)
    return rows


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="small runs, for a first look")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "benchmarks" / "results" / "latest.json"
    )
    args = parser.parse_args()
    collect_rarely()  # as the command does
    rows = measure(args.quick)
    width = max(map(len, rows))
    for name, value in rows.items():
        aim = next((text for key, text in AIMS.items() if name.startswith(key)), "")
        print(f"{name:<{width}}  {value:>12,.2f}  {aim}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    about = {"python": sys.version.split()[0], "machine": platform.machine()}
    args.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
