"""Does a run depend on the order of hashes? Run it in two processes that order them differently.

    PYTHONHASHSEED=1 ── keyframe_digests ──▶ BRANCH STEP DIGEST ─┐
    PYTHONHASHSEED=2 ── keyframe_digests ──▶ BRANCH STEP DIGEST ─┴─ the same lines, or this program is wrong

A machine is a function of its config and its inputs. If two processes disagree, it is not the recording
that lies: something in the program looks at what may differ from one process to the next.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

HASH_SEEDS = (1, 2)
PACKAGES = Path(__file__).resolve().parents[1]
SHOWN_CHARS_MAX = 300


def seed_problems(path: Path) -> list[str]:
    """Run a recording under both hash seeds at once; return the first difference, or nothing.

    Raises OSError if no process can be started.
    """
    children = [_child(path.resolve(), seed) for seed in HASH_SEEDS]
    try:
        answers = [child.communicate() for child in children]
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
    for child, (_, said), seed in zip(children, answers, HASH_SEEDS, strict=True):
        if child.returncode:
            last = said.strip().rpartition("\n")[2][:SHOWN_CHARS_MAX]
            return [f"{path}: under hash seed {seed} it cannot be run: {last}"]
    return compared(path, answers[0][0].splitlines(), answers[1][0].splitlines())


def compared(path: Path, one: list[str], other: list[str]) -> list[str]:
    """Return the first keyframe at which two processes disagree, or nothing."""
    for left, right in zip_longest(one, other, fillvalue="- - nothing"):
        if left != right:
            branch, step, _ = left.split()
            return [
                f"{path}: nondeterminism in this program: branch {branch}, step {step}: digest"
                f" {left.split()[2]} under hash seed {HASH_SEEDS[0]}, {right.split()[2]} under"
                f" {HASH_SEEDS[1]}; the recording is not to blame"
            ]
    return []


def _child(path: Path, seed: int) -> subprocess.Popen[str]:
    before = os.environ.get("PYTHONPATH")
    places = [str(PACKAGES), *([before] if before else [])]
    environment = os.environ | {
        "PYTHONHASHSEED": str(seed),
        "PYTHONPATH": os.pathsep.join(places),
    }
    command = [sys.executable, "-m", "snapshots.keyframe_digests", str(path)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
