"""Whose fault is it when a run that came from a file cannot go on? The file's, not the user's, not ours.

KernelFault, InvariantBroken   a state that cannot be: RecordingError with the reason
any Python error               what no machine of ours would do: RecordingError with its type
other errors of ours           say themselves whose fault they are
"""

from __future__ import annotations

from kernel_sim.errors import InvariantBroken, KernelFault, KernelSimError
from snapshots.errors import RecordingError


def blamed_on_file(problem: Exception, step: int) -> Exception:
    """Return what to raise for a problem that a file's run met at a step."""
    if isinstance(problem, KernelFault | InvariantBroken):
        return RecordingError(f"step {step}: the recording holds a state that cannot be: {problem}")
    if isinstance(problem, KernelSimError):
        return problem
    return RecordingError(
        f"step {step}: the recording holds what no machine can do or be:"
        f" {type(problem).__name__}: {problem}"
    )
