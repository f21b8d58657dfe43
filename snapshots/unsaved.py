"""What somebody has done since a run was opened or saved: inputs, branches, names.

To look, and to let calls that were given run on, is no work that could be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from snapshots.bookmarks import Bookmark
from snapshots.branches import Branch, BranchTree


@dataclass(frozen=True, slots=True)
class SavedState:
    """What of a tree was in a file, or came with a machine or a log, at one moment."""

    nr_inputs: dict[int, int | None]  # by branch; None: it had not been read
    names: dict[int, tuple[str, str]]
    bookmarks: dict[str, Bookmark] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: BranchTree, bookmarks: Mapping[str, Bookmark]) -> SavedState:
        """Take down what there is."""
        branches = tree.branches.values()
        return cls(
            {each.number: each.loaded.nr_inputs if each.loaded else None for each in branches},
            {each.number: (each.name, each.note) for each in branches},
            dict(bookmarks),
        )

    def nr_unsaved(self, tree: BranchTree) -> int:
        """Return how many inputs came since, on all branches."""
        return sum(self._nr_new(branch) for branch in tree.branches.values())

    def is_unsaved(self, tree: BranchTree, bookmarks: Mapping[str, Bookmark]) -> bool:
        """Say whether anything came since that would be missed."""
        names = {branch.number: (branch.name, branch.note) for branch in tree.branches.values()}
        return names != self.names or bookmarks != self.bookmarks or self.nr_unsaved(tree) > 0

    def _nr_new(self, branch: Branch) -> int:
        timeline = branch.loaded
        if timeline is None:
            return 0
        if branch.number not in self.names:
            return timeline.nr_inputs - timeline.inputs_before(branch.fork_step)
        before = self.nr_inputs[branch.number]
        return timeline.nr_inputs - (timeline.nr_inputs_of_file if before is None else before)
