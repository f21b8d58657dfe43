"""Somebody at work on a tree of branches, by chance but always the same; and all that can be seen of it."""

from __future__ import annotations

from contextlib import suppress

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.random_state import RandomState
from snapshots.bookmarks import Bookmark
from snapshots.branches import BranchTree
from snapshots.errors import InputRefused
from snapshots.journal import Place
from snapshots.state_codec import state_digest
from snapshots.timeline import NO_LIMIT, Timeline
from tests.snapshots.conftest import GFP_ATOMIC, GFP_KERNEL, events_of, inputs_of

Truth = dict[int, dict[str, object]]
REFUSING_CPU = 99  # no machine has it
KINDS = (
    "alloc",
    "alloc",
    "alloc",
    "alloc",
    "run",
    "knob",
    "refused",
    "back",
    "mark",
    "name",
    "switch",
    "end",
)


class Worker:
    """One user: gives calls, goes back, branches, sets bookmarks."""

    def __init__(self, config: MachineConfig, seed: int) -> None:
        self.tree = BranchTree.of(Timeline(boot(config)))
        self.bookmarks: dict[str, Bookmark] = {}
        self.chance = RandomState.from_seed(seed)
        self.is_unsaved = True

    @property
    def timeline(self) -> Timeline:
        return self.tree.current.timeline

    def pick(self, below: int) -> int:
        return self.chance.below(below)

    def act(self) -> None:
        """Do one thing."""
        kind, timeline = KINDS[self.pick(len(KINDS))], self.timeline
        if kind == "alloc":
            self.give(4 << self.pick(12), GFP_KERNEL if self.pick(3) else GFP_ATOMIC)
        elif kind == "run":
            self.advance(timeline.step + self.pick(9))
        elif kind == "knob" and timeline.is_at_end:
            timeline.give("purge_vmap", 0)
        elif kind == "refused" and timeline.is_at_end and not timeline.is_segment_full():
            timeline.give("purge_vmap", REFUSING_CPU)  # noted while it waits, and then refused
        elif kind == "back":
            timeline.seek(timeline.first_step + self.pick(timeline.end_step + 1))
        elif kind == "mark":
            name = f"m{self.pick(4)}"
            self.bookmarks[name] = Bookmark(name, self.tree.current_number, timeline.step, "why")
            self.bookmarks.pop(f"m{self.pick(4)}", None)
        elif kind == "name":
            self.tree.current.name = f"called{self.pick(1000)}x{self.tree.current_number}"
        elif kind == "switch":
            branch = list(self.tree.branches.values())[self.pick(len(self.tree.branches))]
            branch.timeline.seek(branch.end_step)
            self.tree.current_number = branch.number
        else:
            timeline.seek(timeline.end_step)
            self.advance(NO_LIMIT)

    def advance(self, until: int) -> None:
        """Let the machine go on; what it refuses has not happened."""
        with suppress(InputRefused):
            self.timeline.advance(until)

    def give(self, size_bytes: int, gfp: int) -> None:
        timeline = self.timeline
        if timeline.step < timeline.end_step:
            if len(self.tree.branches) > 5:
                timeline.seek(timeline.end_step)
            else:
                timeline = self.tree.fork("by chance").timeline
        elif timeline.is_segment_full():
            self.advance(NO_LIMIT)
        timeline.give("pcpu_alloc", 0, (size_bytes, 8, False, gfp, "here"))
        if self.pick(3):
            self.advance(timeline.step + 1 + self.pick(30))

    def place(self) -> Place:
        return Place(
            self.tree.current_number, self.timeline.step, self.timeline.end_step,
            is_unsaved=self.is_unsaved,
        )  # fmt: skip

    def digest(self) -> str:
        return state_digest(self.timeline.machine)


def truth_of(tree: BranchTree) -> Truth:
    """Return all that can be seen of a tree; it stands where it stood."""
    found: Truth = {}
    step, stood = tree.current.timeline.step, not tree.current.timeline.is_stale
    for number, branch in tree.branches.items():
        timeline = branch.timeline
        found[number] = {
            "name": branch.name, "parent": branch.parent, "fork": branch.fork_step,
            "note": branch.note, "inputs": inputs_of(timeline), "events": events_of(timeline),
            "end": timeline.end_step, "marks": list(timeline.marks()),
        }  # fmt: skip
    if stood:
        tree.current.timeline.seek(step)
    return found


def is_prefix(earlier: Truth, later: Truth) -> bool:
    """Say whether one is what the other was at an earlier moment; names may have changed."""
    for number, branch in earlier.items():
        if number not in later:
            return False
        after = later[number]
        for name in ("inputs", "events", "marks"):
            rows, more = branch[name], after[name]
            if (
                not isinstance(rows, list)
                or not isinstance(more, list)
                or more[: len(rows)] != rows
            ):
                return False
        if branch["end"] > after["end"] or branch["parent"] != after["parent"]:  # type: ignore[operator]
            return False
    return True
