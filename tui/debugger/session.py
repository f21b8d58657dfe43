"""One user's seat: a run, where they stand on it, and every way to move. The same for all fronts.

A long move goes in slices and gives way between them, so that a screen stays alive; it can be given up at
any slice and then stands at a sound position between. The methods named `…_step` only say where a move
would lead, None where there is nothing that way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_sim.boot import boot
from kernel_sim.call import Arg
from kernel_sim.config import MachineConfig
from kernel_sim.errors import KernelFault, KernelSimError
from kernel_sim.events import EVENT_NAMES, EventAt
from kernel_sim.machine import Machine
from snapshots.bookmarks import BOOKMARKS_MAX, NAME, NAME_EXPECTED, NOTE_CHARS_MAX, Bookmark
from snapshots.branches import Branch, BranchTree
from snapshots.container.record_places import drained
from snapshots.recording import OpenRecording, Origin, saving_tree
from snapshots.recording_append import appending_tree
from snapshots.segment import Mark
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tui.debugger.births import Births
from tui.debugger.errors import CommandError
from tui.debugger.place import Place
from tui.debugger.position import parse_position
from tui.debugger.watches import Watches

if TYPE_CHECKING:
    from tui.debugger.autosave import Autosave

INPUTS_LOOKED_AT = 10_000  # for the call that faulted; it is among the last
STEPS_TO_EVENT_MAX = 2000
Progress = Callable[[int, int], None]


class Session:
    """A run with its branches, and what belongs to the person who looks at it."""

    __slots__ = (
        "autosave",
        "births",
        "bookmarks",
        "name",
        "origin",
        "path",
        "recording",
        "saved_bytes",
        "tree",
        "watches",
    )

    def __init__(
        self, run: Timeline | BranchTree, origin: Origin | None = None, name: str = ""
    ) -> None:
        """Sit down before a run; path is set by who opened it from a recording."""
        self.tree = run if isinstance(run, BranchTree) else BranchTree.of(run)
        self.origin = origin or Origin()
        self.name = name
        self.path: Path | None = None
        self.bookmarks: dict[str, Bookmark] = {}
        self.births = Births()
        self.watches = Watches()
        self.recording: OpenRecording | None = None  # that of path, if it can be followed
        self.saved_bytes: int | None = None  # length of the file of path as it was saved here last
        self.autosave: Autosave | None = None  # set by who wants the session written down

    @classmethod
    def boot(cls, config: MachineConfig) -> Session:
        """Begin at step 0 of a fresh machine."""
        return cls(Timeline(boot(config)), name=config.name)

    # -- where -------------------------------------------------------------------------------------

    @property
    def timeline(self) -> Timeline:
        """The branch on which the session stands."""
        return self.tree.current.timeline

    @property
    def machine(self) -> Machine:
        """The live machine at the present position."""
        return self.timeline.machine

    @property
    def step(self) -> int:
        """The present position."""
        return self.timeline.step

    @property
    def first_step(self) -> int:
        """The first position."""
        return self.timeline.first_step

    @property
    def end_step(self) -> int:
        """The last position."""
        return self.timeline.end_step

    @property
    def percent(self) -> int:
        """How far along the present is."""
        length = self.end_step - self.first_step
        return 100 * (self.step - self.first_step) // length if length else 100

    @property
    def here(self) -> str:
        """The position as it is shown everywhere: step/total (percent), and of several branches which."""
        where = f"{self.step}/{self.end_step} ({self.percent}%)"
        return where if len(self.tree.branches) == 1 else f"{where} on {self.tree.current.name}"

    def place(self, pane: str = "", sel: str = "") -> Place:
        """Return the present position as a place that can be pasted; of a run without a file by its name."""
        branch = self.tree.current
        name = "" if branch.parent is None and len(self.tree.branches) == 1 else branch.name
        return Place(str(self.path or self.name or "run"), str(self.step), name, pane, sel)

    def go_to_place(self, place: Place) -> None:
        """Stand where a place says; its file is this session's. Raises CommandError, RecordingError."""
        if place.branch:
            self.switch_now(self.tree.named(place.branch))
        if place.step:
            self.go_now(self.position(place.step))

    @property
    def marks(self) -> Iterable[Mark]:
        """Creations, destructions and failures of the whole run."""
        return self.timeline.marks()

    @property
    def has_waiting(self) -> bool:
        """Whether inputs were given at or before the present and have not begun."""
        timeline = self.timeline
        return timeline.inputs_before(self.step + 1) > timeline.next_input

    @property
    def has_more(self) -> bool:
        """Whether the machine can go on beyond the newest step."""
        if self.step < self.end_step or self.machine.fault is not None:
            return False
        return self.has_waiting or bool(self.machine.active)

    def digest(self) -> str:
        """Return the digest of the state at the present position."""
        return state_digest(self.machine)

    def position(self, text: str) -> int:
        """Return the step that a typed position means. Raises CommandError."""
        return parse_position(text, self, self._bookmarked_steps())

    def _bookmarked_steps(self) -> dict[str, int]:
        """Return the steps of bookmarks that are moments of the present branch."""
        return {
            name: mark.step
            for name, mark in self.bookmarks.items()
            if self.tree.holds(self.tree.current, mark.branch, mark.step)
        }

    # -- events ------------------------------------------------------------------------------------

    @property
    def nr_events(self) -> int:
        """Events of the whole run."""
        return self.timeline.nr_events

    @property
    def event_index(self) -> int:
        """How many events happened up to the present: the number of the next one."""
        return self.timeline.events_before(self.step)

    def event(self, number: int) -> EventAt:
        """Return an event by its number."""
        return self.timeline.event_at(number)

    def event_step(self, number: int) -> int | None:
        """Return the step of an event, None if there is none of that number."""
        return self.timeline.event_at(number).step if 0 <= number < self.nr_events else None

    def next_event_step(self) -> int | None:
        """Return the step of the first event after the present."""
        return self.event_step(self.event_index)

    def previous_event_step(self) -> int | None:
        """Return the step of the last event before the present step."""
        number = self.timeline.events_before(self.step - 1) - 1
        return self.event_step(number) if number >= 0 else None

    def next_call_step(self) -> int | None:
        """Return where the call that is under way, or the next one, has ended: as `next` does."""
        index = self.timeline.inputs_before(self.step) + (0 if self.machine.active else 1)
        if index < self.timeline.nr_inputs:
            step = max(self.timeline.input_at(index).step, self.step + 1)
        else:
            step = self.end_step
        return step if self.step < self.end_step else None

    def previous_call_step(self) -> int | None:
        """Return where the call before began."""
        if self.step <= self.first_step:
            return None
        index = self.timeline.inputs_before(self.step) - 1
        return self.timeline.input_at(index).step if index >= 0 else self.first_step

    def fault_begin_step(self) -> int | None:
        """Return where the call began that stopped the machine: to go on, act there or before.

        None if the machine runs. A step back is not enough where the call has already begun: whatever is
        done there, it goes on into its fault.
        """
        fault = self.machine.fault
        if fault is None:
            return None
        stack = self.machine.cpus[fault.cpu].stack
        newest = self.timeline.inputs_before(fault.step) - 1
        for index in range(newest, max(newest - INPUTS_LOOKED_AT, -1), -1):
            given = self.timeline.input_at(index)
            if any(call.name == given.do and call.args == given.args for call in stack):
                return given.step
        return self.previous_call_step()

    def mark_step(self, kinds: Collection[str], forward: bool) -> int | None:
        """Return the step of the nearest mark of these kinds ('c', 'd', 'f') that way."""
        steps = [mark.step for mark in self.marks if mark.kind in kinds]
        if forward:
            return min((step for step in steps if step > self.step), default=None)
        return max((step for step in steps if step < self.step), default=None)

    def events_named(self, at: EventAt) -> str:
        """Return the tracepoint name of an event."""
        return EVENT_NAMES[type(at.event)]

    # -- moving ------------------------------------------------------------------------------------

    async def go(self, step: int, progress: Progress | None = None) -> int:
        """Move to a step in slices, giving way between them; returns where it stands.

        Cancelling the task that awaits this stops at the next slice, at a sound position.
        """
        for here in self.timeline.moves(step):
            if progress is not None:
                progress(here, step)
            await asyncio.sleep(0)
        return self.step

    def go_now(self, step: int) -> int:
        """Move to a step at once; for scripts and short moves."""
        self.timeline.seek(step)
        return self.step

    def go_on(self, steps: int = 1) -> int | None:
        """Let the machine take steps beyond the newest one; returns where it stands, None if nothing runs."""
        if not self.has_more:
            return None
        self.timeline.advance(self.step + steps)
        return self.step

    def go_on_to_event(self) -> int | None:
        """Let the machine go on beyond the newest step until something happens, or for a good while."""
        if not self.has_more:
            return None
        number, last = self.nr_events, self.step + STEPS_TO_EVENT_MAX
        while self.nr_events == number and self.step < last and self.has_more:
            if not self.timeline.advance(self.step + 1):
                break  # all that is under way is parked, or waits for what is
        return self.step

    # -- acting ------------------------------------------------------------------------------------

    def give(self, cpu: int, do: str, *args: Arg) -> int:
        """Give a CPU a call at the present position; returns the input's number.

        In the past this starts a branch: what came after stays in the old timeline, kept in
        branches. At the newest step it joins what was given there and has not begun yet.
        Raises CommandError if too much waits, or at a fault.
        """
        timeline = self.timeline
        if self.machine.fault is not None:
            raise CommandError(
                "the machine has stopped at a fault: nothing can be given to it here"
            )
        if self.step < self.end_step:
            timeline = self.tree.fork(f"{do} on cpu {cpu}").timeline
        elif self.has_waiting and timeline.is_segment_full():
            # A keyframe is due, and inputs that wait would be lost to whoever starts from it.
            raise CommandError("too much has been given and not begun: run first")
        return timeline.give(do, cpu, args)

    async def run(self, steps: int = NO_LIMIT) -> int:
        """Let all CPUs run until nothing is left to do, or for so many steps; returns the step."""
        goal = min(self.step + steps, NO_LIMIT)
        while self.step < goal and self.timeline.advance_a_while(goal):
            await asyncio.sleep(0)
        return self.step

    async def call(self, cpu: int, do: str, *args: Arg) -> object:
        """Give a CPU a call, run until everything given is done, and return the call's result.

        Raises KernelFault if the machine stopped on the way.
        """
        number = self.give(cpu, do, *args)
        await self.run()
        if self.machine.fault is not None:
            raise KernelFault(self.machine.fault.reason)
        return self.result(number)

    def result(self, number: int) -> object:
        """Return the result of a call by its input's number, None while it is not done."""
        call = self.timeline.calls.get(number)
        return call.result if call is not None and call.done else None

    # -- branches and bookmarks ----------------------------------------------------------------------

    async def switch(
        self, branch: Branch, step: int | None = None, progress: Progress | None = None
    ) -> None:
        """Stand on another branch: at a step, else where the two are still one, else where it goes off.

        Raises RecordingError if the file does not hold a sound run of it; one then stands where one stood.
        """
        goal = self._begin_switch(branch, step)
        await self.go(goal, progress)

    def switch_now(self, branch: Branch, step: int | None = None) -> None:
        """Do as switch() does, at once."""
        self.go_now(self._begin_switch(branch, step))

    def _begin_switch(self, branch: Branch, step: int | None) -> int:
        here, before = self.step, self.tree.current_number
        timeline = branch.timeline
        if step is None:
            common = self.tree.last_common(branch, before, here)
            step = timeline.first_step if common is None else common
        step = min(max(step, timeline.first_step), timeline.end_step)
        try:
            next(timeline.moves(step), None)  # loads what is nearest; a file may not hold it
        except KernelSimError:
            self.timeline.seek(here)
            raise
        self.tree.current_number = branch.number
        return step

    async def go_to(self, text: str, progress: Progress | None = None) -> int:
        """Go to a typed position; a bookmark of another branch leads there. Raises CommandError."""
        mark = self.bookmarks.get(text.strip().removeprefix("@")) if "@" in text else None
        if mark is not None and not self.tree.holds(self.tree.current, mark.branch, mark.step):
            await self.switch(self.tree.branches[mark.branch], mark.step, progress)
            return self.step
        return await self.go(self.position(text), progress)

    def bookmark(self, name: str, note: str | None = None) -> Bookmark:
        """Give the present step a name; a note that is not given stays as it was. Raises CommandError."""
        if not NAME.fullmatch(name):
            raise CommandError(f"{name!r:.80}: {NAME_EXPECTED}")
        if len(self.bookmarks) >= BOOKMARKS_MAX and name not in self.bookmarks:
            raise CommandError(f"there are {BOOKMARKS_MAX} bookmarks already")
        before = self.bookmarks.get(name)
        note = note if note is not None else before.note if before is not None else ""
        if len(note) > NOTE_CHARS_MAX or not note.isprintable():
            raise CommandError(f"a note has at most {NOTE_CHARS_MAX} characters that print")
        if before is not None:
            self.forget_bookmark(name)
        mark = Bookmark(name, self.tree.current_number, self.step, note)
        self.bookmarks[name] = mark
        self.timeline.pin()
        return mark

    def take_bookmarks(self, bookmarks: dict[str, Bookmark]) -> None:
        """Take up a file's bookmarks; near those of branches that are read already moments will stay."""
        self.bookmarks = bookmarks
        for mark in bookmarks.values():
            branch = self.tree.branches.get(mark.branch)
            if branch is not None and branch.loaded is not None:
                branch.loaded.moments.pin(mark.step)

    def forget_bookmark(self, name: str) -> None:
        """Take a name back. Raises CommandError."""
        mark = self.bookmarks.pop(name, None)
        if mark is None:
            raise CommandError(f"there is no bookmark @{name:.60}")
        branch = self.tree.branches.get(mark.branch)
        others = ((other.branch, other.step) for other in self.bookmarks.values())
        if branch is not None and branch.loaded and (mark.branch, mark.step) not in others:
            branch.loaded.moments.unpin(mark.step)

    def follow(self) -> bool:
        """Take up what the writer of the recording has added since, in place; False if that is nothing.

        The present position stays. Raises RecordingError.
        """
        return self.recording is not None and self.recording.follow()

    def save(self, path: str = "", *, overwrite: bool = True, whole: bool = False) -> Path:
        """Save at once; see saving()."""
        return drained(self.saving(path, overwrite=overwrite, whole=whole))

    def saving(
        self, path: str = "", *, overwrite: bool = True, whole: bool = False
    ) -> Generator[None, None, Path]:
        """Write the run, its branches and bookmarks to a file, in slices; returns which one it was.

        To the recording that was opened or saved to before, or without a path, what is new is appended and
        every old byte stays; whole: it is written anew all the same. Raises RecordingError, CommandError.
        """
        target = Path(path) if path else self.path
        if target is None:
            raise CommandError("save: this session came from no recording: give a FILE.kms")
        if not whole and self.path is not None and _is_same_file(target, self.path):
            known_bytes = self.known_bytes
            added_bytes = yield from appending_tree(
                target, self.tree, self.origin, self.bookmarks, known_bytes
            )
            if added_bytes:
                self.saved_bytes = target.stat().st_size
        else:
            yield from saving_tree(
                target, self.tree, self.origin, self.bookmarks, overwrite=overwrite
            )
            self.path = self.path or target
            if _is_same_file(target, self.path):
                self.saved_bytes = target.stat().st_size
        if self.autosave is not None:
            self.autosave.was_saved()
        return target

    @property
    def known_bytes(self) -> int | None:
        """How far this session knows its file, as it was saved or else opened; None if nobody knows."""
        if self.saved_bytes is not None or self.recording is None:
            return self.saved_bytes
        return self.recording.reader.end_bytes


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
