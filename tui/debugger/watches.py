"""Watched expressions, and the indexes of changes through which they and other questions are answered.

A watch makes `continue` stop where its value changes. What is known of a run's changes stays as long as the
session: a branch takes over what it shares with the run that it left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from snapshots.history.change_index import ChangeIndex
from snapshots.timeline import Timeline

INDEXES_MAX = 4
WATCHES_MAX = 32


@dataclass(frozen=True, slots=True)
class Watch:
    """An expression that is watched; number is what it is called by."""

    number: int
    text: str


@dataclass(slots=True)
class Watches:
    """What one session watches, and what it knows; one a session."""

    rows: tuple[Watch, ...] = ()
    next_number: int = 1
    indexes: list[ChangeIndex] = field(default_factory=list)

    def add(self, text: str) -> Watch:
        """Watch an expression from now on."""
        watch = Watch(self.next_number, text)
        self.next_number += 1
        self.rows = (*self.rows, watch)
        return watch

    def remove(self, number: int) -> bool:
        """Watch one no more; False if there is none of that number."""
        rows = tuple(watch for watch in self.rows if watch.number != number)
        is_there = len(rows) < len(self.rows)
        self.rows = rows
        return is_there

    def index_of(self, timeline: Timeline) -> ChangeIndex:
        """Return what is known of the changes on a timeline."""
        for index in self.indexes:
            if index.timeline is timeline:
                return index
        fresh = ChangeIndex(timeline)
        if self.indexes:
            fresh.adopt(self.indexes[-1])
        self.indexes = [*self.indexes, fresh][-INDEXES_MAX:]
        return fresh
