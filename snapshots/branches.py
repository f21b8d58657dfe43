"""The branches of a run, as a tree: each goes off from another at a step, and none changes another.

    main    ●━━━━━━━━━━●━━━━━━━━━━━━━●  4711
                       ├─ atomic     ●  2350      goes off at 2300
                       │    └─ again ●  2360
                       └─ no-free    ●  9000

A branch of another machine ("what if the unit had been larger") goes off at the first step, with a machine
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from snapshots.bookmarks import NAME, NAME_EXPECTED
from snapshots.errors import RecordingError
from snapshots.timeline import NO_LIMIT, Timeline

MAIN = 0
MAIN_NAME = "main"
BRANCHES_MAX = 4096


@dataclass(slots=True)
class Branch:
    """One branch; its timeline is read from the file when it is first asked for."""

    number: int
    name: str
    parent: int | None
    fork_step: int
    end_step_of_file: int = 0
    note: str = ""  # what was changed on it
    has_own_machine: bool = False
    loaded: Timeline | None = None
    load: Callable[[], Timeline] | None = None

    @property
    def timeline(self) -> Timeline:
        """The branch's run. Raises RecordingError if the file does not hold a sound one."""
        if self.loaded is None:
            if self.load is None:
                raise RecordingError(f"branch {self.name} has no run")
            self.loaded = self.load()
        return self.loaded

    @property
    def end_step(self) -> int:
        """The branch's newest step; known without reading it."""
        return self.end_step_of_file if self.loaded is None else self.loaded.end_step


@dataclass(slots=True)
class BranchTree:
    """All branches of a recording by number, and the one on which somebody stands."""

    branches: dict[int, Branch] = field(default_factory=dict)
    current_number: int = MAIN

    @classmethod
    def of(cls, timeline: Timeline) -> BranchTree:
        """Begin with one branch, called main."""
        first = timeline.first_step
        return cls({MAIN: Branch(MAIN, MAIN_NAME, None, first, loaded=timeline)})

    @property
    def current(self) -> Branch:
        """The branch on which one stands."""
        return self.branches[self.current_number]

    def fork(self, note: str = "") -> Branch:
        """Begin a branch at the present step of the current one, and stand on it."""
        self._check_room()
        timeline, parent = self.current.timeline, self.current
        step = timeline.step
        forked = timeline.fork()
        while (origin := self._origin_of(parent)) is not None and step <= parent.fork_step:
            if forked.nr_shared > parent.timeline.nr_shared:
                break  # a segment that it closed itself at that very step is none of the one before
            parent = origin  # up to there its moments are those of the branch before it
        return self.add(forked, parent.number, step, note)

    def add(self, timeline: Timeline, parent: int, fork_step: int, note: str = "") -> Branch:
        """Take up a run as a branch of another, and stand on it."""
        self._check_room()
        number = max(self.branches) + 1
        own = timeline.machine.config != self.branches[parent].timeline.machine.config
        branch = Branch(
            number, self._free_name(number), parent, fork_step, note=note, has_own_machine=own,
            loaded=timeline,
        )  # fmt: skip
        self.branches[number] = branch
        self.current_number = number
        return branch

    def named(self, text: str) -> Branch:
        """Return a branch by its name or number. Raises RecordingError."""
        for branch in self.branches.values():
            if text == branch.name or text == str(branch.number):
                return branch
        names = " ".join(branch.name for branch in self.branches.values())
        raise RecordingError(f"there is no branch {text!r:.60}; there are: {names:.400}")

    def last_common(self, branch: Branch, other: int, step: int) -> int | None:
        """Return the last step up to this one of another branch that is a moment of this one, too.

        None if they are runs of different machines.
        """
        ours: dict[int, int] = {}  # number of an ancestor: up to which step its moments are ours
        at: Branch | None = branch
        limit = NO_LIMIT
        while at is not None:
            ours[at.number] = limit
            limit = min(limit, at.fork_step)
            at = self._origin_of(at)
        at, limit = self.branches.get(other), step
        while at is not None:
            if at.number in ours:
                return min(limit, ours[at.number])
            limit = min(limit, at.fork_step)
            at = self._origin_of(at)
        return None

    def holds(self, branch: Branch, other: int, step: int) -> bool:
        """Say whether a step of another branch is a moment of this one, too: they had not parted yet."""
        return self.last_common(branch, other, step) == step

    def _origin_of(self, branch: Branch) -> Branch | None:
        """Return the branch with which this one shares its beginning."""
        if branch.parent is None or branch.has_own_machine:
            return None
        return self.branches.get(branch.parent)

    def rename(self, branch: Branch, name: str) -> None:
        """Give a branch another name. Raises RecordingError if it is none, or taken."""
        if not NAME.fullmatch(name):
            raise RecordingError(f"{name!r:.80} is no name of a branch: {NAME_EXPECTED}")
        if any(other.name == name and other is not branch for other in self.branches.values()):
            raise RecordingError(f"there is a branch {name} already")
        branch.name = name

    def walk(self) -> Iterator[tuple[int, Branch]]:
        """Yield (depth, branch), parents before their children, which come by the step they go off at."""
        children: dict[int | None, list[Branch]] = {}
        for branch in self.branches.values():
            children.setdefault(branch.parent, []).append(branch)
        waiting = [(0, branch) for branch in children.get(None, [])]
        while waiting:
            depth, branch = waiting.pop(0)
            yield depth, branch
            below = sorted(children.get(branch.number, []), key=lambda one: one.fork_step)
            waiting[:0] = [(depth + 1, one) for one in below]

    def _check_room(self) -> None:
        if len(self.branches) >= BRANCHES_MAX:
            raise RecordingError(f"there are {BRANCHES_MAX} branches already; save and begin anew")

    def _free_name(self, number: int) -> str:
        taken = {branch.name: None for branch in self.branches.values()}
        while f"b{number}" in taken:
            number += 1
        return f"b{number}"
