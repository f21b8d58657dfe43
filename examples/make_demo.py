"""Make examples/demo.kms from the recorded machine in tests/golden: `python examples/make_demo.py`.

It opens where the balance work, running on CPU 3 because an allocation used up the last ready pages,
has just created the machine's third chunk and has not put it on a list yet.
"""

from __future__ import annotations

from pathlib import Path

from snapshots.logs.replay import replay_path
from snapshots.recording import save_timeline

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "tests" / "golden" / "kernel-6.1" / "smp4-2node"


def main() -> None:
    """Replay the machine's log and keep the run."""
    report = replay_path(SOURCE)
    if report.timeline is None or not report.ok:
        raise SystemExit("\n".join(report.lines()))
    created = [mark.step for mark in report.timeline.marks() if mark.kind == "c"]
    origin = report.origin()
    origin.opens_at = created[1]
    save_timeline(ROOT / "examples" / "demo.kms", report.timeline, origin)
    print(f"examples/demo.kms: {report.summary}; opens at step {origin.opens_at}")


if __name__ == "__main__":
    main()
