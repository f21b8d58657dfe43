"""How v3-small.kms and v3-killed.kms were made. Run by hand, once: python -m tests.recordings.make_v3 FOLDER.

Three branches with names and notes, one of them off from another, one on a machine of its own; bookmarks;
short segments, so that there are keyframes that rest on others and parts that are patches. The killed one is
the same run as a session leaves it that dies: closed segments, and tails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kernel_sim.boot import boot
from snapshots.bookmarks import Bookmark
from snapshots.branches import MAIN, BranchTree
from snapshots.container.recording_file import RecordingWriter
from snapshots.recording import Origin, header_of, open_recording, save_tree
from snapshots.recording_sink import RecordingSink
from snapshots.state_codec import state_digest
from snapshots.timeline import Timeline
from tests.snapshots.conftest import (
    BUSY,
    Action,
    inputs_of,
    play,
    recorded,
    short_segments,
    small_config,
)

ORIGIN = Origin(notes=["made for the tests"])
CONFIG = small_config(cpus=3, nodes=2, policy="random", seed=7)
KILLED: list[Action] = [*BUSY[:40], *(("alloc", 0, 200, 8, 0xCC0), ("run", 4)) * 3]


def three_branches() -> tuple[BranchTree, dict[str, Bookmark]]:
    """Return a tree of four branches and its bookmarks; the caller has made segments short."""
    tree = BranchTree.of(recorded(CONFIG, BUSY))
    main = tree.current
    main.timeline.seek(main.end_step * 3 // 4)
    other = tree.fork("frees nothing")
    tree.rename(other, "no-free")
    play(other.timeline, BUSY[:14])
    other.timeline.seek(other.end_step - 5)
    inner = tree.fork("")
    play(inner.timeline, [*BUSY[:3], ("knob", 0, ("purge_vmap",)), ("run", 3)])
    wide = recorded(small_config(cpus=4, policy="pct", seed=3), BUSY[:12])
    tree.rename(tree.add(wide, MAIN, 0, "four CPUs"), "wide")
    tree.current_number = MAIN
    marks = [
        Bookmark("start", MAIN, 0),
        Bookmark("parted", other.number, other.fork_step, "here they part"),
        Bookmark("inner.end", inner.number, inner.end_step),
    ]
    return tree, {mark.name: mark for mark in marks}


def write_killed(path: Path) -> Timeline:
    """Write a run as it stands in a file whose writer is killed; returns the run."""
    writer = RecordingWriter.create(path, header_of(CONFIG))
    sink = RecordingSink(writer)
    timeline = Timeline(boot(CONFIG), sink)
    told = 0
    for act in KILLED:
        play(timeline, [act])
        sink.tail(told, inputs_of(timeline)[told:], timeline.step)
        told = timeline.nr_inputs
    writer.flush()
    data = path.read_bytes()
    writer.close()
    path.write_bytes(data)
    return timeline


def facts_of(path: Path, every: int = 13) -> dict[str, object]:
    """Return what a test compares: of every branch its name, its counts and some digests."""
    opened = open_recording(path)
    branches = {}
    for depth, branch in opened.tree.walk():
        timeline = branch.timeline
        digests = {}
        for step in [*range(0, timeline.end_step, every), timeline.end_step]:
            timeline.seek(step)
            digests[str(step)] = state_digest(timeline.machine)
        branches[branch.name] = {
            "depth": depth,
            "number": branch.number,
            "fork": branch.fork_step,
            "end": branch.end_step,
            "note": branch.note,
            "inputs": timeline.nr_inputs,
            "events": timeline.nr_events,
            "segments": len(timeline.heads),
            "marks": [list(mark) for mark in timeline.marks()],
            "digests": digests,
        }
    bookmarks = {name: mark.to_body() for name, mark in opened.bookmarks.items()}
    opened.reader.close()
    return {"branches": branches, "bookmarks": bookmarks}


def main(folder: Path) -> None:
    """Write both recordings and what is in them."""
    with short_segments(6):
        tree, bookmarks = three_branches()
        save_tree(folder / "v3-small.kms", tree, ORIGIN, bookmarks)
        write_killed(folder / "v3-killed.kms")
    for name in ("v3-small", "v3-killed"):
        path = folder / f"{name}.kms"
        path.with_suffix(".json").write_text(json.dumps(facts_of(path), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
