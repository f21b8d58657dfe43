"""Autosave: what a session does is written down after every command, and a dead one can be reopened.

    session ── after each command, each stop ──► Journal        offers() ──► rows ──► reopen(row) ──► Session

Nothing that goes wrong here disturbs the session: it is told once, when there is something to lose.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from pathlib import Path

from platformdirs import user_state_path

from snapshots.container.record_places import drained
from snapshots.errors import InputError, RecordingError
from snapshots.journal import Journal, Place
from snapshots.journal_folder import DeadSession, JournalFolder
from snapshots.unsaved import SavedState
from tui.debugger.session import Session
from tui.debugger.table import count

STATE_DIR = (
    "KMEMSCOPE_STATE_DIR"  # environment: where to keep it instead of the user's state folder
)


def state_folder() -> JournalFolder:
    """Return the folder of this user's journals."""
    base = os.environ.get(STATE_DIR)
    root = Path(base) if base else user_state_path("kmemscope", appauthor=False)
    return JournalFolder(root / "autosave")


class Autosave:
    """Keeps the journal of one session."""

    def __init__(
        self, session: Session, source: Path | None = None, machine: Path | None = None,
        *, journal: Journal | None = None,
    ) -> None:  # fmt: skip
        """Begin at a session as it was opened; a journal is that of the dead session it goes on with."""
        self.session = session
        self.folder = state_folder()
        self.source = str(source.absolute()) if source is not None else ""
        self.machine = str(machine.absolute()) if machine is not None else ""
        self.began_s = int(time.time())
        self.saved = SavedState.of(session.tree, session.bookmarks)
        self.journal = journal
        self.nr_before = 0  # inputs of the dead session that are saved nowhere else
        self.was_unsaved = False
        self.problem = ""  # why it has stopped
        self.to_say: list[str] = []
        self._is_noting = False
        self._must_note = False  # something was done since the noting began

    @property
    def is_unsaved(self) -> bool:
        """Whether the session holds work that is in no file of the user's."""
        session = self.session
        return self.was_unsaved or self.saved.is_unsaved(session.tree, session.bookmarks)

    @property
    def nr_unsaved(self) -> int:
        """Inputs that are in no file of the user's."""
        return self.nr_before + self.saved.nr_unsaved(self.session.tree)

    def place(self) -> Place:
        """Return where the session stands, as the journal has it."""
        session = self.session
        return Place(
            session.tree.current_number, session.step, session.end_step, self.nr_unsaved,
            self.is_unsaved, self.source, self.machine, session.name, self.began_s,
            session.known_bytes or 0,
        )  # fmt: skip

    async def note(self) -> None:
        """Write down what is new, giving way between slices; see take_said() for what went wrong."""
        self._must_note = True
        if self._is_noting or self.problem:
            return  # whoever is at it looks once more
        self._is_noting = True
        try:
            while self._must_note:
                self._must_note = False
                for _ in self._noting():
                    await asyncio.sleep(0)
        except Exception as problem:  # a defect of autosave, too, must not cost the session
            self._stop(problem)
        finally:
            self._is_noting = False

    def note_now(self) -> None:
        """Write down what is new, at once."""
        if not self.problem:
            try:
                drained(self._noting())
            except Exception as problem:  # see note()
                self._stop(problem)

    def take_said(self) -> list[str]:
        """Return what the user has to be told, once."""
        if not self.to_say or (self.problem and not self.is_unsaved):
            return []
        said, self.to_say = self.to_say, []
        return said

    def was_saved(self) -> None:
        """Take down that all there is stands in a file of the user's."""
        self.saved = SavedState.of(self.session.tree, self.session.bookmarks)
        self.nr_before, self.was_unsaved = 0, False

    def end(self, *, keep_unsaved: bool = True) -> str:
        """End in good order: remove the journal, or keep it for unsaved work; returns what to say."""
        if keep_unsaved and self.is_unsaved:
            self.note_now()
        journal, self.journal = self.journal, None
        if self.problem or journal is None:
            return ""
        try:
            if keep_unsaved and self.is_unsaved:
                journal.keep()
                what = f"{count(self.nr_unsaved, 'input')} and names given here are"
                return f"{what} in no file of yours; `kmemscope recover` offers them again"
            journal.remove()
        except (RecordingError, OSError) as problem:
            return f"autosave: {problem}"
        return ""

    def leave(self) -> None:
        """Leave the journal as it is, as if the session had died here."""
        if self.journal is not None:
            self.journal.writer.leave()

    def _noting(self) -> Generator[None, None, None]:
        session = self.session
        if self.journal is None:
            self.journal = self.folder.begin(self.source or session.name)
        yield from self.journal.noting(
            session.tree, session.origin, session.bookmarks, self.place()
        )

    def _stop(self, problem: Exception) -> None:
        self.problem = str(problem) or type(problem).__name__
        self.to_say.append(f"autosave has stopped: {self.problem}; save with `save FILE.kms`")
        self.leave()


def attach(session: Session, source: Path | None = None, machine: Path | None = None) -> Autosave:
    """Let a session be written down from here on; source and machine are the files it was opened from."""
    session.autosave = Autosave(session, source, machine)
    return session.autosave


def offers() -> list[DeadSession]:
    """Return the sessions that died and can be reopened, newest first."""
    return [row for row in state_folder().dead() if row.place is not None]


def reopen(row: DeadSession) -> Session:
    """Open a dead session where it stood; it goes on in the same journal.

    Raises: RecordingError, InputError or ConfigError, e.g. if somebody has reopened it meanwhile.
    """
    journal = drained(Journal.resuming(row.path))
    try:
        session, said = _reopened(row, journal)
    except BaseException:
        journal.writer.leave()
        raise
    place = row.place or Place(0, 0, 0)
    source, machine = (Path(text) if text else None for text in (place.source, place.machine))
    autosave = Autosave(session, source, machine, journal=journal)
    autosave.began_s = place.began_s
    if journal.growth is not None:
        autosave.nr_before, autosave.was_unsaved = place.nr_unsaved, place.is_unsaved
    autosave.to_say += said
    session.autosave = autosave
    return session


def _reopened(row: DeadSession, journal: Journal) -> tuple[Session, list[str]]:
    from snapshots.opening import open_any, read_machine_toml
    from snapshots.recording import open_recording

    place = row.place or Place(0, 0, 0)
    source = Path(place.source) if place.source else None
    if journal.growth is not None:
        recording = open_recording(row.path)
        session = Session(recording.tree, recording.origin, name=place.name or row.path.name)
        session.take_bookmarks(recording.bookmarks)
        said = recording.warnings
        session.path = source if source is not None and _is_recording(source) else None
        session.saved_bytes = place.source_bytes or None
    elif source is None:
        raise InputError(f"{row.path}: tells no file that was opened: nothing to show")
    else:
        machine = read_machine_toml(Path(place.machine)) if place.machine else None
        opened = open_any(source, machine)
        session = Session(opened.tree, opened.origin, name=opened.name)
        session.take_bookmarks(opened.bookmarks)
        session.path, said = opened.path, opened.lines
        session.recording = opened.recording
    if place.branch in session.tree.branches:
        branch = session.tree.branches[place.branch]
        branch.timeline.seek(place.step)
        session.tree.current_number = place.branch
    return session, said


def _is_recording(path: Path) -> bool:
    from snapshots.opening import is_recording

    try:
        return is_recording(path)
    except InputError:
        return False
