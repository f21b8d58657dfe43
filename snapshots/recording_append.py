"""Saving to the recording one came from: what is new is appended, and every old byte stays.

    old    header │ records │ index │ trailer
    new    header │ records │ index │ trailer │ what is new │ index │ trailer
           └────── the same bytes ───────────┘

If anything goes wrong on the way the file is cut back to what it was.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import cast

from kernel_sim.inputs import Input
from snapshots.bookmarks import Bookmark
from snapshots.branches import BranchTree
from snapshots.container.file_access import naming
from snapshots.container.record_places import drained
from snapshots.container.recording_file import RecordEntry, RecordingReader, RecordingWriter
from snapshots.errors import RecordingError
from snapshots.origin import Origin
from snapshots.recording_growth import TreeGrowth, held_by
from snapshots.recording_heads import NUMBERS, BranchRecords, records_by_branch
from snapshots.segment import unpack_segment
from snapshots.timeline import Timeline

UNCHANGED = "the file is as it was; `save OTHER.kms` writes a whole one elsewhere"


def append_tree(
    path: str | os.PathLike[str],
    tree: BranchTree,
    origin: Origin,
    bookmarks: Mapping[str, Bookmark] | None = None,
) -> int:
    """Append to a recording what its tree has more; returns how many bytes that took.

    Raises: RecordingError, also if the file holds another run. It is then as it was.
    """
    return drained(appending_tree(path, tree, origin, bookmarks))


def appending_tree(
    path: str | os.PathLike[str],
    tree: BranchTree,
    origin: Origin,
    bookmarks: Mapping[str, Bookmark] | None = None,
    known_bytes: int | None = None,
) -> Generator[None, None, int]:
    """Do so in slices; who does not go through them all leaves the file as it was.

    known_bytes: how far the tree knows the file. If it ends elsewhere, somebody else has written it.
    """
    target = Path(path)
    with naming(target):
        writer = yield from RecordingWriter.reopening(target)
        try:
            with RecordingReader.open(target) as reader:
                _check_same_run(reader, tree)
                held = yield from held_by(reader, writer)
            growth = TreeGrowth(writer, held)
            if not growth.is_behind(tree, bookmarks or {}) and all(
                branch.is_ended for branch in held.branches.values()
            ):
                writer.leave()
                return 0
            before_bytes = target.stat().st_size
            if known_bytes not in (None, before_bytes):
                raise RecordingError("somebody else has saved to this file since it was read here")
            yield from growth.finish(tree, origin, bookmarks or {})
            writer.write_out()
            writer.leave()
        except BaseException as problem:
            writer.abandon()
            if isinstance(problem, RecordingError):
                raise RecordingError(f"{problem}; {UNCHANGED}") from problem
            raise
    return target.stat().st_size - before_bytes


def _check_same_run(reader: RecordingReader, tree: BranchTree) -> None:
    """Refuse a file that holds what the tree has not: somebody else has written it meanwhile."""
    for number, records in records_by_branch(reader).items():
        branch = tree.branches.get(number)
        if branch is None and records.is_begun:
            raise RecordingError(
                f"branch {number} in the file is none of this session: somebody else has saved to it"
            )
        if branch is not None and branch.loaded is not None:
            _check_same_branch(reader, records, branch.loaded)


def _check_same_branch(reader: RecordingReader, records: BranchRecords, timeline: Timeline) -> None:
    for at, entry in enumerate(records.segments):
        number = entry.key.get("n")
        promised = [entry.key.get(name) for name in NUMBERS]
        if type(number) is not int or number >= len(timeline.heads):
            raise _another_run(number)
        head = timeline.heads[number]
        is_open = at == len(records.segments) - 1
        own: list[object] = [
            head.first_step, head.first_input, head.first_event,
            head.nr_inputs, head.nr_events, head.last_step,
        ]  # fmt: skip
        nr_same = 3 if is_open else len(own)  # the last one may have grown meanwhile
        if own[:nr_same] != promised[:nr_same]:
            raise _another_run(number)
        if is_open and not _holds(timeline.body(number).inputs, entry, reader.read(entry)):
            raise _another_run(number)


def _holds(inputs: list[Input], entry: RecordEntry, packed: object) -> bool:
    """Say whether inputs begin with those that the machine of a segment in the file has taken.

    Those of its last step may have waited there, and have been refused since.
    """
    held = unpack_segment(packed if isinstance(packed, bytes) else b"").inputs
    last_step = cast("int", entry.key.get("l"))  # of the keys that were compared before
    taken = [given for given in held if given.step < last_step]
    return inputs[: len(taken)] == taken


def _another_run(number: object) -> RecordingError:
    return RecordingError(f"segment {number!r:.20} in the file is not the one of this session")
