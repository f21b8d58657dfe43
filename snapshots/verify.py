"""Is a recording true? Run it again from nothing and hold every keyframe and every event against it.

    records     every checksum, every blob, the index                        verify_records.py
    branches    boot ─ inputs ─▶ events, marks, keyframe ─▶ … ─▶ the end      as the file says, or not
    hash seeds  two more runs in processes of their own: the same digests    hash_seeds.py

Nothing is loaded on the way: the machine is booted from the config and given the inputs, and what it then
does and is must be what the file says: event by event, and at a keyframe part by part. A branch goes on
from the keyframe of its parent that it shares, which was compared before. Only a recording that begins
behind boot (a stretch cut out of another) is loaded at its first keyframe, which nothing can prove.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kernel_sim.errors import KernelSimError
from kernel_sim.events import EVENT_NAMES, EventAt
from kernel_sim.machine_state import dump_parts
from snapshots.branches import Branch
from snapshots.errors import RecordingError
from snapshots.first_difference import first_difference
from snapshots.hash_seeds import HASH_SEEDS, seed_problems
from snapshots.recording import OpenRecording, open_recording
from snapshots.rerun import Rerun
from snapshots.segment import marks_of
from snapshots.state_codec import PartHashes
from snapshots.timeline import Timeline
from snapshots.verify_records import check_records

SLICE_STEPS = 2000
SHOWN_CHARS_MAX = 160
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Verdict:
    """What came of it; problems is empty if the recording is true. Counts are of what was compared."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what could not be proved
    nr_records: int = 0
    nr_branches: int = 0
    nr_keyframes: int = 0
    nr_events: int = 0
    nr_steps: int = 0
    hash_seeds: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found against it."""
        return not self.problems

    def to_json(self) -> dict[str, object]:
        """Return it as builtin types."""
        counts: dict[str, object] = {
            name: getattr(self, f"nr_{name}")
            for name in ("records", "branches", "keyframes", "events", "steps")
        }
        seeds = {"hash_seeds": list(self.hash_seeds)}
        return {"ok": self.ok, "problems": self.problems, "notes": self.notes} | counts | seeds


def verify_recording(path: str | os.PathLike[str]) -> list[str]:
    """Return what is wrong with a recording, or an empty list if it is true to the end.

    Raises RecordingError if it is none, or of a newer format.
    """
    return examine(path).problems


def examine(
    path: str | os.PathLike[str], *, hash_seeds: bool = False, progress: Progress | None = None
) -> Verdict:
    """Verify a recording: of every branch the first disagreement is told, with its step.

    hash_seeds: run it twice more, in processes in which Python orders hashes otherwise.
    progress is told step and end of the branch that is run. Raises RecordingError if it is no recording.
    """
    target = Path(path)
    verdict = Verdict()
    checked = check_records(target)
    verdict.nr_records = checked.nr_records
    verdict.problems += checked.problems
    try:
        opened = open_recording(target)
    except RecordingError as problem:
        _add_new(verdict.problems, str(problem), target)
        return verdict
    try:
        for warning in opened.warnings:
            _add_new(verdict.problems, warning, target)
        for _, branch in opened.tree.walk():
            verdict.nr_branches += 1
            verdict.problems += _Trial(opened, branch, verdict, progress).hear()
        verdict.problems += _bookmark_problems(opened)
    finally:
        opened.reader.close()
    if hash_seeds and verdict.ok:
        verdict.hash_seeds = HASH_SEEDS
        verdict.problems += seed_problems(target)
    return verdict


def _add_new(problems: list[str], text: str, path: Path) -> None:
    """Add a line unless it was said already, as damage is by the scan and by opening."""
    known = [problem.removeprefix(f"{path}: ").partition(";")[0] for problem in problems]
    if not any(each in text for each in known):
        problems.append(text)


def _bookmark_problems(opened: OpenRecording) -> list[str]:
    problems: list[str] = []
    for name, bookmark in opened.bookmarks.items():
        branch = opened.tree.branches.get(bookmark.branch)
        if branch is None:
            problems.append(f"{opened.path}: bookmark {name} is on branch {bookmark.branch}: none")
        elif bookmark.step > branch.end_step:
            problems.append(
                f"{opened.path}: bookmark {name} is at step {bookmark.step}, its branch ends at"
                f" {branch.end_step}"
            )
    return problems


class _Trial:
    """One branch, run again."""

    def __init__(
        self, opened: OpenRecording, branch: Branch, verdict: Verdict, progress: Progress | None
    ) -> None:
        self.opened = opened
        self.branch = branch
        self.verdict = verdict
        self.progress = progress
        self.hashes = PartHashes()
        self.sound_step = 0  # up to here the file was true

    def hear(self) -> list[str]:
        """Return the first disagreement, in a list of one, or none."""
        where = f"{self.opened.path}: "
        if self.branch.parent is not None:
            where += f"branch {self.branch.name}: "
        try:
            timeline = self.branch.timeline
            rerun = self._begun(timeline)
        except KernelSimError as problem:
            text = str(problem).removeprefix(f"{self.opened.path}: ")
            return [f"{where}{text}"]
        self.sound_step = rerun.machine.step
        problem_text = self._run(timeline, rerun) or self._fork_problem(timeline)
        return [f"{where}{problem_text}"] if problem_text else []

    def _begun(self, timeline: Timeline) -> Rerun:
        """Return a machine at the beginning of the branch's own segments."""
        parent = self.branch.parent
        first = timeline.nr_shared
        if parent is not None and first:
            shared = self.opened.tree.branches[parent].timeline
            return Rerun(timeline, at_segment=first, parts=shared.keyframe_parts(first))
        if timeline.first_step:
            self.verdict.notes.append(
                f"it begins at step {timeline.first_step}: its first keyframe was loaded, not proved"
            )
            return Rerun(timeline)
        return Rerun(timeline, from_boot=True)

    def _run(self, timeline: Timeline, rerun: Rerun) -> str:
        heads = timeline.heads
        for number in range(timeline.nr_shared, len(heads)):
            is_last = number + 1 == len(heads)
            end = timeline.end_step if is_last else heads[number + 1].first_step
            try:
                problem = self._keyframe_problem(timeline, rerun, number)
                problem = problem or self._segment_problem(timeline, rerun, number, end)
            except RecordingError as fault:
                return str(fault).removeprefix(f"{self.opened.path}: ")
            if problem:
                return problem
        return ""

    def _fork_problem(self, timeline: Timeline) -> str:
        """Hold the step at which the branch is said to go off against what both were given up to there.

        The origin may have more: behind a knob, which takes a step, inputs of the step before wait.
        """
        branch = self.branch
        if branch.parent is None or branch.has_own_machine:
            return ""
        origin, fork = self.opened.tree.branches[branch.parent].timeline, branch.fork_step
        last = min(origin.end_step, timeline.end_step)
        if not timeline.first_step <= fork <= last:
            return f"goes off at step {fork}; expected {timeline.first_step} to {last}"
        nr_inputs = timeline.inputs_before(fork)
        first = min(timeline.heads[timeline.nr_shared].first_input, nr_inputs)
        if origin.inputs_before(fork) < nr_inputs or any(
            timeline.input_at(number) != origin.input_at(number)
            for number in range(first, nr_inputs)
        ):
            return f"goes off at step {fork}, but was given something else before that step"
        return ""

    def _keyframe_problem(self, timeline: Timeline, rerun: Rerun, number: int) -> str:
        recorded = self.opened.sources[self.branch.number].hashes(number)
        now_parts = dump_parts(rerun.machine)
        now = self.hashes.of(now_parts)
        self.verdict.nr_keyframes += 1
        for name in sorted({*recorded, *now}):
            if recorded.get(name) != now.get(name):
                said = timeline.keyframe_parts(number).get(name)
                return self._difference_text(rerun.machine.step, number, name, said, now_parts)
        self.sound_step = rerun.machine.step
        return ""

    def _difference_text(
        self, step: int, number: int, name: str, said: object, now: dict[str, object]
    ) -> str:
        place, one, other = first_difference(said, now.get(name))
        since = "" if step == self.sound_step else f", since step {self.sound_step} at the earliest"
        return (
            f"step {step}: keyframe {number}: part {name} is not what was recorded{since}:"
            f" {name}{place}: recorded {one}, now {other}"
        )

    def _segment_problem(self, timeline: Timeline, rerun: Rerun, number: int, end: int) -> str:
        """Run one segment and compare its events as they come."""
        machine = rerun.machine
        body = timeline.body(number)
        recorded = body.events
        rerun.inputs_end = timeline.heads[number].first_input + len(body.inputs)
        nr_seen = 0
        while machine.step < end:
            here = machine.step
            try:
                seen = rerun.run_to(min(here + SLICE_STEPS, end))
            except Exception as fault:
                problem = timeline.blamed(fault)
                if problem is fault and not isinstance(fault, KernelSimError):
                    raise
                return f"step {machine.step}: input {rerun.next_input} cannot be run: {problem}"
            problem_text = _event_problem(recorded, seen, nr_seen, number)
            if problem_text:
                return problem_text
            nr_seen += len(seen)
            self.verdict.nr_events += len(seen)
            self.verdict.nr_steps += machine.step - here
            if self.progress is not None:
                self.progress(machine.step, timeline.end_step)
            if machine.step == here:
                return f"step {here}: the run ends here, the recording at step {timeline.end_step}"
        if len(recorded) != nr_seen:
            missing = recorded[nr_seen]
            return (
                f"step {missing.step}: segment {number}: {len(recorded)} events recorded, {nr_seen} now:"
                f" {_shown(missing)} did not happen"
            )
        return self._mark_problem(timeline, number)

    def _mark_problem(self, timeline: Timeline, number: int) -> str:
        is_last = number + 1 == len(timeline.heads)
        marks = marks_of(timeline.body(number).events)
        if is_last or marks == timeline.heads[number].marks:
            return ""
        step = timeline.heads[number].first_step
        return f"step {step}: segment {number}: its marks are not those of its events"


def _event_problem(recorded: list[EventAt], seen: list[EventAt], nr_seen: int, number: int) -> str:
    """Return the first event that is not as recorded."""
    told = recorded[nr_seen : nr_seen + len(seen)]
    if told == seen:
        return ""
    for index, now in enumerate(seen, nr_seen):
        if index >= len(recorded):
            return (
                f"step {now.step}: segment {number}: {len(recorded)} events recorded, more now:"
                f" {_shown(now)}"
            )
        old = recorded[index]
        if old != now:
            step = min(old.step, now.step)
            return (
                f"step {step}: event {index} of segment {number}: recorded {_shown(old)},"
                f" now {_shown(now)}"
            )
    return ""


def _shown(at: EventAt) -> str:
    name = EVENT_NAMES[type(at.event)]
    return f"{name}{tuple(at.event)!r:.{SHOWN_CHARS_MAX}} of cpu {at.cpu} at step {at.step}"
