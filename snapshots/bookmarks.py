"""Names and notes that people gave to steps of a branch. Near a bookmark a moment is always kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

from snapshots.errors import RecordingError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
NAME_EXPECTED = "expected a letter, then at most 63 letters, digits, _ . or -"
NOTE_CHARS_MAX = 4000
BOOKMARKS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A named step; the note is free text, often empty."""

    name: str
    branch: int
    step: int
    note: str = ""

    def to_body(self) -> dict[str, object]:
        """Return it as a record's body."""
        return {"name": self.name, "branch": self.branch, "step": self.step, "note": self.note}


def gone_body(name: str) -> dict[str, object]:
    """Return the body of a record that takes back an earlier bookmark."""
    return {"name": name, "gone": True}


def read_bookmarks(bodies: list[object]) -> dict[str, Bookmark]:
    """Return the bookmarks of a file by name; of several of one name the last counts.

    Raises RecordingError for a body that is none.
    """
    found: dict[str, Bookmark] = {}
    for body in bodies:
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(name, str) or not NAME.fullmatch(name):
            raise RecordingError(f"a bookmark without a proper name: {body!r:.80}")
        if body.get("gone") is True:
            found.pop(name, None)
            continue
        branch, step, note = body.get("branch", 0), body.get("step"), body.get("note", "")
        if type(branch) is not int or type(step) is not int or min(branch, step) < 0:
            raise RecordingError(f"bookmark {name}: branch {branch!r}, step {step!r:.40}")
        if not isinstance(note, str) or len(note) > NOTE_CHARS_MAX or not note.isprintable():
            raise RecordingError(
                f"bookmark {name}: a note has up to {NOTE_CHARS_MAX} characters that print"
            )
        found[name] = Bookmark(name, branch, step, note)
        if len(found) > BOOKMARKS_MAX:
            raise RecordingError(f"more than {BOOKMARKS_MAX} bookmarks")
    return found
