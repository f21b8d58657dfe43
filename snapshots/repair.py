"""A damaged recording made whole again: all that still makes a run, in a new file.

    header │ records ▒▒▒▒ records │ …                    damage: a record whose checksum is wrong
             └─ kept ┘    └─ kept if nothing that a run needs was in the hole

A run is its inputs. They are given again to a machine as boot made it, segment by segment, as long as a
segment can be read and the machine does what it says. So a lost keyframe costs nothing, for it is made
again; a lost segment ends the run, for nobody knows what was given there. What is behind it is lost,
its keyframes too: a run has no holes. What was read is never written to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from kernel_sim.boot import boot
from kernel_sim.errors import KernelSimError
from kernel_sim.machine_state import Parts, dump_parts
from snapshots.bookmarks import Bookmark
from snapshots.branches import MAIN, Branch, BranchTree
from snapshots.container.file_access import naming, part_path
from snapshots.container.record_places import TornTail
from snapshots.container.recording_file import RecordingReader
from snapshots.errors import RecordingError
from snapshots.recording import UNDERSTOOD, OpenRecording, open_recording, save_tree
from snapshots.recording_heads import BranchRecords, heads_of, records_by_branch
from snapshots.recording_source import FileParts, FileSource
from snapshots.rerun import Rerun, Retold, go_on_to, retell
from snapshots.segment import SegmentBody
from snapshots.timeline import Timeline
from snapshots.verify import examine
from snapshots.verify_records import check_records

HOLES_MAX = 64
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Repaired:
    """What was saved, and in words what was not; problems are what verifying the new file found."""

    nr_steps: int = 0
    nr_inputs: int = 0
    nr_events: int = 0
    nr_branches: int = 0
    damage: list[str] = field(default_factory=list)  # in the old file, with byte offsets
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing that the old file promised is missing."""
        return not self.lost and not self.problems


def repair_recording(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> Repaired:
    """Write what can be saved of a recording to another file, and verify that.

    Raises RecordingError if it is no recording, nothing can be saved, or output is the file itself.
    """
    source, target = Path(path), Path(output)
    if target.exists() and source.exists() and target.samefile(source):
        raise RecordingError(f"{target}: this is what is read; give another file to write to")
    damage = check_records(source).problems
    done = _best(source, target, progress)
    if done is None:
        raise RecordingError(f"{source}: nothing in it makes a run: {'; '.join(damage)[:400]}")
    report = done.report
    report.damage = damage
    marks = done.bookmarks()
    done.tree.current_number = MAIN
    save_tree(target, done.tree, done.opened.origin, marks)
    report.problems = examine(target, progress=progress).problems
    return report


def _best(source: Path, target: Path, progress: Progress | None) -> _Salvage | None:
    """Try the file as it is, and with the damaged stretches cut out; return what saves more."""
    best: _Salvage | None = None
    with _copies(source, target) as files:
        for file in files:
            for opener in (open_recording, _open_without_keyframes(best)):
                salvage = _salvaged(file, opener, progress)
                if salvage is not None:
                    if best is None or salvage.report.nr_steps > best.report.nr_steps:
                        best = salvage
                    break
    return best


def _salvaged(
    file: Path, opener: Callable[[Path], OpenRecording], progress: Progress | None
) -> _Salvage | None:
    """Return what can be saved of a file, None if it cannot be opened or not even begins."""
    try:
        opened = opener(file)
    except KernelSimError:
        return None
    salvage = _Salvage(opened, progress)
    try:
        return salvage if salvage.run() else None
    finally:
        opened.reader.close()


def _open_without_keyframes(known: _Salvage | None) -> Callable[[Path], OpenRecording]:
    """Return what opens the main branch of a file of which keyframes are damaged.

    known tells the machine: what was saved of another copy of the same file.
    """

    def open_it(file: Path) -> OpenRecording:
        if known is None:
            raise RecordingError(f"{file}: nothing is known of its machine")
        config, reader = known.opened.config, RecordingReader.open(file, understood=UNDERSTOOD)
        try:
            records = records_by_branch(reader).get(MAIN, BranchRecords())
            machine = boot(config)
            source = FileSource(FileParts(reader), records.keyframes, records.segments)
            forgiving = _NoKeyframes(source, dump_parts(machine))
            timeline = Timeline.reading(machine, forgiving, heads_of(file, records, []))
        except BaseException:
            reader.close()
            raise
        tree = BranchTree.of(timeline)
        return OpenRecording(file, config, tree, known.opened.origin, reader, {MAIN: source})

    return open_it


class _NoKeyframes:
    """The segments of a file, with the state after boot for every keyframe: none is looked at."""

    def __init__(self, source: FileSource, boot_parts: Parts) -> None:
        self.source = source
        self.boot_parts = boot_parts

    def parts(self, number: int) -> Parts:
        """Return something that is there."""
        return self.boot_parts

    def body(self, number: int) -> SegmentBody:
        """Return what is in a segment."""
        return self.source.body(number)

    def packed(self, number: int) -> bytes:
        """Return a segment as it is packed."""
        return self.source.packed(number)


@contextmanager
def _copies(source: Path, target: Path) -> Iterator[Iterator[Path]]:
    """Give the file, a copy up to its first damage, and one whose records lie end to end again."""
    copy = part_path(target)
    try:
        yield _tries(source, copy)
    finally:
        copy.unlink(missing_ok=True)


def _tries(source: Path, copy: Path) -> Iterator[Path]:
    torn = _torn_of(source)
    if torn is None:
        yield source
        return
    with naming(copy, safe="nothing was saved"):
        shutil.copyfile(source, copy)
        os.truncate(copy, torn.offset_bytes)
    yield copy
    yield source
    if torn.next_complete_offset_bytes is None:
        return
    with naming(copy, safe="nothing was saved"):
        shutil.copyfile(source, copy)
        for _ in range(HOLES_MAX):
            if torn is None or torn.next_complete_offset_bytes is None:
                break
            _cut_out(copy, torn.offset_bytes, torn.next_complete_offset_bytes)
            torn = _torn_of(copy)
    yield copy


def _torn_of(file: Path) -> TornTail | None:
    """Return where a scan of every checksum stops."""
    with RecordingReader.open(file, understood=UNDERSTOOD, use_index=False) as reader:
        return reader.torn


def _cut_out(file: Path, first_byte: int, end_byte: int) -> None:
    """Remove a stretch of bytes from a file of our own; what follows moves up."""
    with file.open("r+b") as data:
        place = first_byte
        data.seek(end_byte)
        while block := data.read(1 << 20):
            rest = data.tell()
            data.seek(place)
            data.write(block)
            place += len(block)
            data.seek(rest)
        data.truncate(place)


class _Salvage:
    """Tells the runs of an opened recording again, as far as they go."""

    def __init__(self, opened: OpenRecording, progress: Progress | None) -> None:
        self.opened = opened
        self.progress = progress
        self.report = Repaired()
        self.tree = BranchTree()
        self.new_numbers: dict[int, int] = {MAIN: MAIN}

    def run(self) -> bool:
        """Make the new tree and count what is in it; False if not even the main branch begins."""
        old = self.opened.tree
        try:
            main = Retold(self._rerun(old.branches[MAIN].timeline).machine)
        except KernelSimError:
            return False
        self.tree = tree = BranchTree.of(main)
        tree.branches[MAIN].name = old.branches[MAIN].name
        self._tell_again(old.branches[MAIN], main, 0)
        for number, branch in sorted(old.branches.items()):  # parents have lower numbers
            if number != MAIN:
                self._add(tree, branch)
        for number, records in records_by_branch(self.opened.reader).items():
            if number not in old.branches:
                self.report.lost.append(f"branch {number}: it cannot be read")
            elif records.end is None:
                self.report.lost.append(
                    f"branch {number}: whatever came after step {old.branches[number].end_step}: the file"
                    " does not tell how far it went"
                )
        self._count(tree)
        return True

    def bookmarks(self) -> dict[str, Bookmark]:
        """Return the bookmarks of what was saved; the others are lost."""
        kept: dict[str, Bookmark] = {}
        for name, bookmark in self.opened.bookmarks.items():
            number = self.new_numbers.get(bookmark.branch, -1)
            branch = self.tree.branches.get(number)
            if branch is not None and bookmark.step <= branch.end_step:
                kept[name] = replace(bookmark, branch=number)
            else:
                self.report.lost.append(f"bookmark {name} at step {bookmark.step}")
        return kept

    def _rerun(self, timeline: Timeline) -> Rerun:
        return Rerun(timeline, from_boot=not timeline.first_step)

    def _add(self, tree: BranchTree, branch: Branch) -> None:
        """Let a branch go off in the new tree where it did in the old one."""
        parent = tree.branches.get(self.new_numbers.get(branch.parent or MAIN, -1))
        try:
            timeline = branch.timeline
            if parent is None or parent.end_step < branch.fork_step:
                raise RecordingError("what it goes off from is lost")
            if branch.has_own_machine or (not timeline.nr_shared and timeline.first_step):
                new = tree.add(
                    Retold(self._rerun(timeline).machine),
                    parent.number,
                    branch.fork_step,
                    branch.note,
                )
            else:
                tree.current_number = parent.number
                parent.timeline.seek(branch.fork_step)
                new = tree.fork(branch.note)
        except KernelSimError as problem:
            self.report.lost.append(f"branch {branch.name}: {problem}")
            return
        if all(other.name != branch.name for other in tree.branches.values()):
            tree.rename(new, branch.name)
        self.new_numbers[branch.number] = new.number
        self._tell_again(branch, new.timeline, new.timeline.nr_inputs)

    def _tell_again(self, branch: Branch, taken: Timeline, first_input: int) -> None:
        """Give the inputs of a branch again, from one on, as far as it is true; note what is lost."""
        old = branch.timeline
        good_steps, good_inputs, why = self._true_part(branch, old)
        try:
            for index in range(first_input, good_inputs):
                retell(taken, old.input_at(index))
            go_on_to(taken, good_steps)
        except KernelSimError as problem:
            why = why or str(problem)
        if isinstance(taken, Retold):
            taken.keeps_steps = False
        if why:
            why = why.replace(f"{self.opened.path}: ", "")
            nr_lost = old.nr_inputs - taken.nr_inputs
            self.report.lost.append(
                f"branch {branch.name}: steps {taken.end_step} to {old.end_step}, {nr_lost} inputs: {why}"
            )

    def _true_part(self, branch: Branch, old: Timeline) -> tuple[int, int, str]:
        """Return up to which step and input a branch is readable and true, and why no further."""
        rerun = self._rerun(old)
        for number, head in enumerate(old.heads):
            good = (head.first_step, head.first_input)
            is_last = number + 1 == len(old.heads)
            end = old.end_step if is_last else old.heads[number + 1].first_step
            try:
                body = old.body(number)
                rerun.inputs_end = head.first_input + len(body.inputs)
                seen = rerun.run_to(end)
            except KernelSimError as problem:
                return (*good, str(problem))
            except Exception as problem:
                return (*good, str(old.blamed(problem)))
            if rerun.machine.step != end or seen != body.events:
                return (*good, f"segment {number} is not what a machine does with its inputs")
            if self.progress is not None:
                self.progress(end, old.end_step)
        return old.end_step, old.nr_inputs, ""

    def _count(self, tree: BranchTree) -> None:
        report = self.report
        report.nr_branches = len(tree.branches)
        for branch in tree.branches.values():
            timeline = branch.timeline
            own = timeline.heads[timeline.nr_shared :]
            report.nr_inputs += sum(head.nr_inputs for head in own)
            report.nr_events += sum(head.nr_events for head in own)
            report.nr_steps += timeline.end_step - own[0].first_step
