"""Moments kept in memory near which one has been: many near the present, few far from it, pinned ones always.

    distance from here, in steps     … 4096 ── 2048 ── 1024 ── 512 ── 256 ── 0
    kept in each octave                 4       4       4      4      4

So their number grows with the logarithm of the run's length (as rr's checkpoints do), and who steps back and
forth finds one close by.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from kernel_sim.machine_state import Parts

PER_OCTAVE = 4
NEAR_STEPS = 256  # nearer than this all count as one octave


@dataclass(slots=True)
class Moment:
    """A kept moment in memory; input_index is the first input that was not given yet."""

    step: int
    input_index: int
    parts: Parts


@dataclass(slots=True)
class Moments:
    """Kept moments of one branch, by step."""

    kept: list[Moment] = field(default_factory=list)
    pinned: dict[int, None] = field(default_factory=dict)  # steps whose nearest moment stays

    def __len__(self) -> int:
        return len(self.kept)

    def before(self, step: int) -> Moment | None:
        """Return the last moment at or before a step."""
        index = bisect_right(self.kept, step, key=lambda kept: kept.step)
        return self.kept[index - 1] if index else None

    def has(self, step: int) -> bool:
        """Say whether there is a moment of that very step."""
        index = bisect_left(self.kept, step, key=lambda kept: kept.step)
        return index < len(self.kept) and self.kept[index].step == step

    def keep(self, moment: Moment) -> None:
        """Keep a moment; those that are too many at their distance from it go."""
        if self.has(moment.step):
            return
        index = bisect_left(self.kept, moment.step, key=lambda kept: kept.step)
        self.kept.insert(index, moment)
        self._thin(moment.step)

    def pin(self, step: int) -> None:
        """Never drop the moment from which one gets to this step."""
        self.pinned[step] = None

    def unpin(self, step: int) -> None:
        """Let the moment before this step go with the others."""
        self.pinned.pop(step, None)

    def up_to(self, step: int) -> Moments:
        """Return the moments at or before a step, for a branch that goes off there."""
        kept = [moment for moment in self.kept if moment.step <= step]
        return Moments(kept, {at: None for at in self.pinned if at <= step})

    def _thin(self, here: int) -> None:
        crowds: dict[int, list[Moment]] = {}
        held = {near.step for at in self.pinned if (near := self.before(at)) is not None}
        for moment in self.kept:
            if moment.step not in held:
                crowds.setdefault(_octave(moment.step - here), []).append(moment)
        dropped = [
            one.step for crowd in crowds.values() if len(crowd) > PER_OCTAVE
            for one in _too_many(crowd)
        ]  # fmt: skip
        if dropped:
            gone = dict.fromkeys(dropped)
            self.kept = [moment for moment in self.kept if moment.step not in gone]


def _octave(distance: int) -> int:
    """Return how many times a distance doubles, negative before here."""
    doublings = max(abs(distance) // NEAR_STEPS, 0).bit_length() + 1
    return -doublings if distance < 0 else doublings


def _too_many(crowd: list[Moment]) -> list[Moment]:
    """Return those to drop: each time the one whose neighbours are closest together."""
    crowd = list(crowd)
    gone: list[Moment] = []
    while len(crowd) > PER_OCTAVE:
        gaps = [crowd[at + 1].step - crowd[at - 1].step for at in range(1, len(crowd) - 1)]
        gone.append(crowd.pop(1 + gaps.index(min(gaps))))
    return gone
