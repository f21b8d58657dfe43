"""Shrinking: a shorter list of inputs that still fails, found by leaving out (delta debugging).

    10,000 rows ──► up to the failure ──► one after another ──► without halves, quarters, …, single rows
        ┌───────────────────────────────────────────────────────────────────────────────────────┘
        └──► simpler schedule, CPU 0, smaller numbers ──► without single rows ──┐
             ▲───────────────────────── until nothing goes any more ────────────┘

A candidate is played on a bare machine by the rules of program.py: whoever names a result that is gone is
gone too. Nothing is recorded meanwhile, the machine boots once and goes back to its first moment, and no
candidate is run twice. What is found depends on the recording and the condition only.

Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input", 2002.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.machine_state import Parts, dump_parts, load_parts
from snapshots.errors import InputError
from snapshots.timeline import Timeline
from snapshots.what_if.edit import configured
from snapshots.what_if.failure import Condition, Outcome
from snapshots.what_if.program import BareRun, Player, Program, Row, TimelineRun
from snapshots.what_if.simpler import simpler_rows

RUNS_MAX = 2000
STEPS_MAX = 200_000_000
KEY_BYTES = 16
AS_IT_IS = -1
SIMPLE_SCHEDULE = ("round_robin", 0)


class Told(NamedTuple):
    """How far it is: runs made, rows of the best run so far, and what is being done."""

    nr_runs: int
    nr_rows: int
    doing: str


@dataclass(slots=True)
class Budget:
    """How much may be spent on candidates."""

    runs_max: int = RUNS_MAX
    steps_max: int = STEPS_MAX
    nr_runs: int = 0
    nr_steps: int = 0

    @property
    def is_spent(self) -> bool:
        """Whether no further candidate may be run."""
        return self.nr_runs >= self.runs_max or self.nr_steps >= self.steps_max


@dataclass(slots=True)
class Shrunk:
    """The best found so far: its rows as given, its machine, and whether nothing more can be left out."""

    config: MachineConfig
    rows: list[Row]
    tail_steps: int | None
    nr_before: int
    nr_runs: int
    nr_steps: int
    is_minimal: bool


@dataclass(slots=True)
class Ground:
    """A machine booted once, and the moment to which it goes back for every candidate."""

    config: MachineConfig
    machine: Machine
    start: Parts

    @classmethod
    def of(cls, program: Program, schedule: tuple[str, int]) -> Ground:
        """Boot the machine of a program with another schedule."""
        policy, seed = schedule
        wish = {"schedule.policy": policy, "schedule.seed": seed}
        config = configured(program.config, wish)
        machine = boot(config)
        fresh = machine.scheduler.dump()
        load_parts(machine, program.start)
        if config != program.config:
            machine.scheduler.load(fresh)
        return cls(config, machine, dump_parts(machine))


@dataclass(slots=True)
class Shrinker:
    """A search; `shrinks` goes through it, `best` may be asked for at any time."""

    program: Program
    condition: Condition
    budget: Budget = field(default_factory=Budget)
    rows: list[Row] = field(default_factory=list)
    schedule: tuple[str, int] = SIMPLE_SCHEDULE
    tail_steps: int | None = None
    is_minimal: bool = False
    known: dict[bytes, list[Row] | None] = field(default_factory=dict)
    versions: dict[Row, int] = field(default_factory=dict)
    grounds: dict[tuple[str, int], Ground] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.program.config
        self.rows = list(self.program.rows)
        self.schedule = (config.schedule.policy, config.schedule.seed)
        self.tail_steps = self.program.tail_steps

    @property
    def best(self) -> Shrunk:
        """The shortest run found so far that fails."""
        return Shrunk(
            self._ground(self.schedule).config, list(self.rows), self.tail_steps,
            len(self.program.rows),
            self.budget.nr_runs, self.budget.nr_steps, self.is_minimal,
        )  # fmt: skip

    # -- candidates --------------------------------------------------------------------------------

    def _ground(self, schedule: tuple[str, int]) -> Ground:
        ground = self.grounds.get(schedule)
        if ground is None:
            ground = self.grounds[schedule] = Ground.of(self.program, schedule)
        return ground

    def _run(
        self, rows: Sequence[Row], schedule: tuple[str, int], doing: str
    ) -> Generator[Told, None, list[Row] | None]:
        """Run a candidate, but not twice; returns the rows that were given, None if it does not fail."""
        key = self._key(rows, schedule)
        if key in self.known:
            return self.known[key]
        if self.budget.is_spent:
            return None
        ground = self._ground(schedule)
        machine = ground.machine
        load_parts(machine, ground.start)
        self.budget.nr_runs += 1
        player = Player(BareRun(machine), rows)
        work = player.play(self.tail_steps)
        while True:
            try:
                next(work)
            except StopIteration as end:
                played = end.value
                break
            yield self._told(doing)
        self.budget.nr_steps += machine.step
        holds = self.condition.holds(Outcome(machine, machine.events))
        as_given = {row.number: None for row in played.given}
        found = [row for row in rows if row.number in as_given] if holds else None
        self.known[key] = found
        return found

    def _key(self, rows: Sequence[Row], schedule: tuple[str, int]) -> bytes:
        """Return what two candidates have in common only if they are the same."""
        numbers = array("Q", [row.number << 24 | row.version for row in rows])
        words = f"{schedule} {self.tail_steps} ".encode()
        return hashlib.blake2b(words + numbers.tobytes(), digest_size=KEY_BYTES).digest()

    def version(self, row: Row) -> Row:
        """Return an altered row with the number that tells it from other alterations."""
        plain = row._replace(version=0)
        return plain._replace(version=self.versions.setdefault(plain, len(self.versions) + 1))

    def _try(
        self,
        rows: Sequence[Row],
        doing: str,
        schedule: tuple[str, int] | None = None,
        tail_steps: int | None = AS_IT_IS,
    ) -> Generator[Told, None, bool]:
        """Take a candidate over if it fails, without the rows that were not even given."""
        wanted, tail_before = schedule or self.schedule, self.tail_steps
        if tail_steps != AS_IT_IS:
            self.tail_steps = tail_steps
        given = yield from self._run(rows, wanted, doing)
        if given is None:
            self.tail_steps = tail_before
            return False
        self.rows, self.schedule = list(rows), wanted
        if len(given) < len(rows):
            again = yield from self._run(given, wanted, doing)
            if again is not None:
                self.rows = given
        return True

    def _told(self, doing: str) -> Told:
        return Told(self.budget.nr_runs, len(self.rows), doing)

    # -- the search --------------------------------------------------------------------------------

    def shrinks(self) -> Iterator[Told]:
        """Search, in slices. Whoever stops asking has the best so far.

        Raises InputError if the run as recorded does not fail.
        """
        failed = yield from self._try(self.rows, "the run as recorded")
        if not failed:
            raise InputError(f"the condition does not hold at the run's end: {self.condition.text}")
        if not self.condition.ends_run:
            yield from self._to_end()
        yield from self._in_order("one call after another")
        yield from self._drop_stretches()
        while not self.budget.is_spent:
            before = (list(self.rows), self.schedule, self.tail_steps)
            yield from self._in_order("a simpler schedule")
            yield from self._stop_earlier()
            yield from self._simplify()
            yield from self._drop_singles()
            if before == (self.rows, self.schedule, self.tail_steps):
                self.is_minimal = not self.budget.is_spent
                return

    def _to_end(self) -> Iterator[Told]:
        """Leave out what comes after the failure: halve the way to the shortest beginning that fails."""
        rows = list(self.rows)
        short, long = 0, len(rows)
        while short + 1 < long:
            middle = (short + long) // 2
            failed = yield from self._try(rows[:middle], "up to the failure")
            short, long = (short, middle) if failed else (middle, long)

    def _in_order(self, doing: str) -> Iterator[Told]:
        """Leave out what is chance: the schedule, and all overlapping of calls."""
        one_by_one = [self._alone(row) for row in self.rows]
        if self.tail_steps is not None:
            yield from self._try(one_by_one, doing, SIMPLE_SCHEDULE, None)
        for rows, schedule in (
            (one_by_one, SIMPLE_SCHEDULE),
            (self.rows, SIMPLE_SCHEDULE),
            (one_by_one, self.schedule),
        ):
            if (rows, schedule) == (self.rows, self.schedule):
                return
            done = yield from self._try(rows, doing, schedule)
            if done:
                return

    def _alone(self, row: Row) -> Row:
        if row.when_idle:
            return row
        return self.version(row._replace(when_idle=True, stretch=-1 - row.number))

    def _drop_stretches(self) -> Iterator[Told]:
        """Leave out halves, then quarters, down to single rows, as long as the rest fails."""
        size = len(self.rows) // 2
        while size > 1 and not self.budget.is_spent:
            yield from self._drop_each(size)
            size = min(size, len(self.rows)) // 2
        yield from self._drop_singles()

    def _drop_each(self, size: int) -> Generator[Told, None, bool]:
        """Leave out each stretch of so many rows in turn; returns whether any could be.

        From the end on: what lies close before the failure is more often part of it, and a call that
        is left out takes those behind it along that name its result.
        """
        dropped = False
        end = len(self.rows)
        while end > 0 and not self.budget.is_spent:
            begin = max(end - size, 0)
            rows = self.rows[:begin] + self.rows[end:]
            done = yield from self._try(rows, f"without {size} in a row")
            dropped = dropped or done
            end = min(begin, len(self.rows))
        return dropped

    def _drop_singles(self) -> Iterator[Told]:
        while not self.budget.is_spent:
            dropped = yield from self._drop_each(1)
            if not dropped:
                return

    def _stop_earlier(self) -> Iterator[Told]:
        """Let a run that ends in the midst of calls end sooner."""
        sooner = True
        while sooner and self.tail_steps and not self.budget.is_spent:
            for tail_steps in dict.fromkeys((self.tail_steps // 2, self.tail_steps - 1)):
                sooner = yield from self._try(self.rows, "an earlier end", tail_steps=tail_steps)
                if sooner:
                    break

    def _simplify(self) -> Iterator[Told]:
        """Make each row simpler for itself, as long as the run still fails."""
        for place in range(len(self.rows)):
            if place >= len(self.rows):
                return
            simpler = True
            while simpler and place < len(self.rows) and not self.budget.is_spent:
                simpler = False
                for row in simpler_rows(self.rows[place]):
                    rows = list(self.rows)
                    rows[place] = self.version(row)
                    simpler = yield from self._try(rows, "simpler calls")
                    if simpler:
                        break


def timeline_of(shrunk: Shrunk, program: Program) -> Timeline:
    """Record what was found: a timeline from its machine's boot, standing at its end."""
    machine = Ground.of(
        program, (shrunk.config.schedule.policy, shrunk.config.schedule.seed)
    ).machine
    timeline = Timeline(machine)
    for _ in Player(TimelineRun(timeline), shrunk.rows).play(shrunk.tail_steps):
        pass
    return timeline
