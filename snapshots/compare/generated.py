"""Workloads out of a seed: the same spec always gives the same operations.

    gen:mixed,seed=7,ops=2000,cpus=4
        │     │      │        └ CPUs that take part (default 4)
        │     │      └ how many operations (default 1000)
        │     └ of the generator (default 1)
        └ what kind of work: KINDS below

Each kind is a mix: what is drawn next, how large areas are, how many live at a time. Nothing that is
drawn can be impossible: only what lives is freed and used, only CPUs that are up take part, CPU 0 stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from kernel_sim.errors import ConfigError
from kernel_sim.random_state import RandomState
from snapshots.compare.workload import (
    Access,
    Alloc,
    CpuDown,
    CpuUp,
    Free,
    ModuleAccess,
    ModuleLoad,
    ModuleUnload,
    Operation,
    StaticAccess,
    Workload,
)

PREFIX = "gen:"
Thing = TypeVar("Thing")
OPS_DEFAULT = 1000
OPS_MAX = 200_000
CPUS_DEFAULT = 4
CPUS_MAX = 64
SEED_MAX = (1 << 63) - 1
WORD_BYTES = 4
STATIC_SPAN_BYTES = 16 << 10
CHURN_ROUNDS = 8
CHURN_FREED_PERCENT = 30

ALLOC, FREE, OWN, OTHER, SUM, STATIC, LOAD, UNLOAD, USE_MODULE, HOTPLUG = (
    "alloc", "free", "own", "other", "sum", "static", "load", "unload", "use module", "hotplug",
)  # fmt: skip


class Sizes(NamedTuple):
    """A range of sizes and how often it is drawn, and the largest alignment that goes with it."""

    weight: int
    least_bytes: int
    most_bytes: int
    align_max: int = 8


@dataclass(frozen=True, slots=True)
class Mix:
    """A kind of work: weights of what is done next, sizes, and how many areas live at most."""

    about: str
    weights: dict[str, int]
    sizes: tuple[Sizes, ...] = (Sizes(1, 4, 64),)
    live_max: int = 400
    modules_max: int = 40


COUNTERS = (Sizes(1, 4, 64),)
SMALL = (Sizes(3, 4, 64), Sizes(1, 65, 256))
ALL_SIZES = (
    Sizes(60, 4, 64),
    Sizes(25, 65, 512, 64),
    Sizes(11, 513, 4096, 64),
    Sizes(3, 4097, 8192, 64),
    Sizes(1, 8193, 16384, 4096),
)
MODULE_SIZES = (Sizes(6, 4, 64, 32), Sizes(3, 65, 512, 64), Sizes(1, 513, 2048, 64))

KINDS: dict[str, Mix] = {
    "counters": Mix(
        "counters of 4 to 64 bytes: made, counted up by all CPUs, summed now and then, given back",
        {ALLOC: 20, FREE: 12, OWN: 60, SUM: 2, STATIC: 6},
        COUNTERS,
    ),
    "small": Mix(
        "objects of 4 to 256 bytes that come and go, each used a little",
        {ALLOC: 40, FREE: 30, OWN: 25, OTHER: 5},
        SMALL,
    ),
    "mixed": Mix(
        "sizes from 4 bytes to 16 KiB, a few modules, all kinds of use",
        {
            ALLOC: 40,
            FREE: 30,
            OWN: 18,
            OTHER: 4,
            STATIC: 4,
            LOAD: 2,
            UNLOAD: 1,
            USE_MODULE: 1,
        },
        ALL_SIZES,
        live_max=250,
    ),
    "modules": Mix(
        "modules with per-CPU sections come, are used, and go",
        {LOAD: 30, UNLOAD: 22, USE_MODULE: 40, STATIC: 8},
        modules_max=60,
    ),
    "churn": Mix(
        "small objects: again and again 30 % of all are given back at random and others take their place",
        {},
        COUNTERS,
    ),
    "numa-access": Mix(
        "few objects, much use: every CPU works on its own copies and looks at the others'",
        {ALLOC: 4, FREE: 2, OWN: 64, OTHER: 22, STATIC: 8},
        SMALL,
        live_max=120,
    ),
    "hotplug": Mix(
        "CPUs go and come while objects are made, used and given back",
        {ALLOC: 34, FREE: 22, OWN: 30, OTHER: 4, STATIC: 4, HOTPLUG: 6},
        SMALL,
        live_max=150,
    ),
}


class Spec(NamedTuple):
    """A spec that was read."""

    kind: str
    seed: int
    nr_operations: int
    nr_cpus: int

    @property
    def text(self) -> str:
        """The spec with nothing left to a default."""
        return f"{PREFIX}{self.kind},seed={self.seed},ops={self.nr_operations},cpus={self.nr_cpus}"


def read_spec(text: str) -> Spec:
    """Return what `gen:KIND[,seed=N][,ops=N][,cpus=N]` says. Raises ConfigError naming what is wrong."""
    kind, *settings = text.removeprefix(PREFIX).split(",")
    if kind not in KINDS:
        raise ConfigError(f"{text}: no kind of work {kind!r}; expected one of {', '.join(KINDS)}")
    values = {"seed": 1, "ops": OPS_DEFAULT, "cpus": CPUS_DEFAULT}
    limits = {"seed": (0, SEED_MAX), "ops": (1, OPS_MAX), "cpus": (1, CPUS_MAX)}
    for setting in settings:
        name, equals, digits = setting.partition("=")
        if name not in values or not equals:
            listed = ", ".join(f"{name}=…" for name in values)
            raise ConfigError(f"{text}: {setting!r} is no setting; expected {listed}")
        least, most = limits[name]
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= len(str(most))
        if not is_number or not least <= int(digits) <= most:
            raise ConfigError(f"{text}: {name}={digits}: expected a number from {least} to {most}")
        values[name] = int(digits)
    return Spec(kind, values["seed"], values["ops"], values["cpus"])


def generated_workload(text: str) -> Workload:
    """Return the workload of a spec. Raises ConfigError for a spec that is none."""
    spec = read_spec(text)
    source = _Source(spec, KINDS[spec.kind], RandomState.from_seed(spec.seed))
    operations = tuple(source.churn() if spec.kind == "churn" else source.mixed())
    return Workload(f"{spec.kind} {spec.seed}", spec.text, operations, spec.nr_cpus)


@dataclass(slots=True)
class _Source:
    """What lives while operations are drawn."""

    spec: Spec
    mix: Mix
    random: RandomState
    live: list[int] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    up: list[int] = field(init=False)
    nr_made: int = 0

    def __post_init__(self) -> None:
        self.up = list(range(self.spec.nr_cpus))

    # -- kinds of work -----------------------------------------------------------------------------

    def mixed(self) -> Iterator[Operation]:
        """Yield operations by the weights of the mix; what cannot be done now is drawn again."""
        nr_left = self.spec.nr_operations
        deeds = self._deeds()
        while nr_left:
            for operation in deeds[self._weighted(self.mix.weights)]():
                yield operation
                nr_left -= 1
                if not nr_left:
                    return

    def churn(self) -> Iterator[Operation]:
        """Yield a filling, then rounds in each of which a part is given back and made anew.

        Each round ends with a use of every CPU's copies, so that it can be seen where things lie.
        """
        nr_total = self.spec.nr_operations
        freed_each = CHURN_FREED_PERCENT / 100
        nr_filled = max(1, int(nr_total / (1 + CHURN_ROUNDS * (2 * freed_each + 0.1))))
        yield from self._repeat(self._alloc, min(nr_filled, nr_total))
        nr_left = nr_total - min(nr_filled, nr_total)
        while nr_left > 0:
            nr_freed = max(1, int(len(self.live) * freed_each))
            for deed, nr_times in (
                (self._free, nr_freed),
                (self._alloc, nr_freed),
                (self._own, max(1, nr_filled // 10)),
            ):
                nr_done = min(nr_times, nr_left)
                yield from self._repeat(deed, nr_done)
                nr_left -= nr_done

    def _repeat(self, deed: Callable[[], list[Operation]], nr_times: int) -> Iterator[Operation]:
        for _ in range(nr_times):
            yield from deed()

    def _deeds(self) -> dict[str, Callable[[], list[Operation]]]:
        return {
            ALLOC: self._alloc, FREE: self._free, OWN: self._own, OTHER: self._other,
            SUM: self._sum, STATIC: self._static, LOAD: self._load, UNLOAD: self._unload,
            USE_MODULE: self._use_module, HOTPLUG: self._hotplug,
        }  # fmt: skip

    # -- single deeds; [] if it cannot be done now -------------------------------------------------

    def _alloc(self) -> list[Operation]:
        if self.mix.weights and len(self.live) >= self.mix.live_max:
            return []
        size, align = self._size_and_align(self.mix.sizes)
        self.nr_made += 1
        self.live.append(self.nr_made)
        return [Alloc(self.nr_made, size, align, cpu=self._cpu())]

    def _free(self) -> list[Operation]:
        if not self.live:
            return []
        return [Free(self._taken(self.live), self._cpu())]

    def _own(self) -> list[Operation]:
        if not self.live:
            return []
        cpu = self._cpu()
        return [Access(self._one_of(self.live), cpu, cpu, write=self._is_chosen(70))]

    def _other(self) -> list[Operation]:
        if not self.live or len(self.up) < 2:
            return []
        cpu, owner = self._two_cpus()
        return [Access(self._one_of(self.live), cpu, owner)]

    def _sum(self) -> list[Operation]:
        if not self.live:
            return []
        number, cpu = self._one_of(self.live), self._cpu()
        return [Access(number, cpu, owner) for owner in self.up]

    def _static(self) -> list[Operation]:
        cpu = self._cpu()
        offset = self.random.below(STATIC_SPAN_BYTES // WORD_BYTES) * WORD_BYTES
        return [StaticAccess(offset, cpu, cpu, write=self._is_chosen(50))]

    def _load(self) -> list[Operation]:
        if len(self.modules) >= self.mix.modules_max:
            return []
        size, align = self._size_and_align(MODULE_SIZES)
        self.nr_made += 1
        name = f"mod{self.nr_made}"
        self.modules.append(name)
        nr_variables = 1 + self.random.below(max(1, min(size // WORD_BYTES, 12)))
        return [ModuleLoad(name, size, align, nr_variables, self._cpu())]

    def _unload(self) -> list[Operation]:
        if not self.modules:
            return []
        return [ModuleUnload(self._taken(self.modules), self._cpu())]

    def _use_module(self) -> list[Operation]:
        if not self.modules:
            return []
        cpu = owner = self._cpu()
        if len(self.up) > 1 and self._is_chosen(20):
            cpu, owner = self._two_cpus()
        name = self._one_of(self.modules)
        return [ModuleAccess(name, cpu, owner, write=cpu == owner and self._is_chosen(60))]

    def _hotplug(self) -> list[Operation]:
        down = [cpu for cpu in range(self.spec.nr_cpus) if cpu not in self.up]
        going = [cpu for cpu in self.up if cpu]
        if down and (not going or self._is_chosen(50)):
            cpu = self._one_of(down)
            self.up = sorted([*self.up, cpu])
            return [CpuUp(cpu)]
        if not going:
            return self._own()  # one CPU alone: none can go
        cpu = self._one_of(going)
        self.up.remove(cpu)
        return [CpuDown(cpu)]

    # -- chance ------------------------------------------------------------------------------------

    def _size_and_align(self, sizes: tuple[Sizes, ...]) -> tuple[int, int]:
        _, least, most, align_max = self._weighted({each: each.weight for each in sizes})
        size = least + self.random.below(most - least + 1)
        nr_aligns = align_max.bit_length() - WORD_BYTES.bit_length() + 1
        return size, WORD_BYTES << self.random.below(nr_aligns)

    def _cpu(self) -> int:
        return self._one_of(self.up)

    def _two_cpus(self) -> tuple[int, int]:
        cpu = self._cpu()
        return cpu, self._one_of([other for other in self.up if other != cpu])

    def _is_chosen(self, percent: int) -> bool:
        return self.random.below(100) < percent

    def _one_of(self, things: list[Thing]) -> Thing:
        return things[self.random.below(len(things))]

    def _taken(self, things: list[Thing]) -> Thing:
        """Take one out of a list whose order does not matter."""
        at = self.random.below(len(things))
        things[at], things[-1] = things[-1], things[at]
        return things.pop()

    def _weighted(self, weights: dict[Thing, int]) -> Thing:
        number = self.random.below(sum(weights.values()))
        for thing, weight in weights.items():
            number -= weight
            if number < 0:
                return thing
        raise AssertionError("a number below the sum of all weights is below one of their sums")
