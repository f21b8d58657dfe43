"""The digests of a recording's keyframes, made by running it again, one a line: BRANCH STEP DIGEST.

    python -m snapshots.keyframe_digests FILE.kms        run by hash_seeds.py, in a process of its own

What is printed depends on the recording alone; if it depends on anything else, this program is wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from kernel_sim.errors import KernelSimError
from kernel_sim.machine_state import dump_parts
from snapshots.branches import Branch
from snapshots.recording import open_recording
from snapshots.rerun import Rerun
from snapshots.state_codec import PartHashes, digest_of


def keyframe_digests(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield a line for every keyframe of every branch, and one for its end.

    Raises KernelSimError for a recording that cannot be read or run.
    """
    opened = open_recording(path)
    try:
        for _, branch in opened.tree.walk():
            yield from _of_branch(branch)
    finally:
        opened.reader.close()


def _of_branch(branch: Branch) -> Iterator[str]:
    timeline = branch.timeline
    rerun = Rerun(timeline, from_boot=not timeline.first_step)
    hashes = PartHashes()
    for step in [*(head.first_step for head in timeline.heads), timeline.end_step]:
        rerun.run_to(step)
        digest = digest_of(hashes.of(dump_parts(rerun.machine)))
        yield f"{branch.number} {rerun.machine.step} {digest}"


def main() -> int:
    """Print them; what is wrong is said in one line."""
    try:
        for line in keyframe_digests(sys.argv[1]):
            print(line)
    except KernelSimError as problem:
        print(" ".join(str(problem).split("\n")), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
