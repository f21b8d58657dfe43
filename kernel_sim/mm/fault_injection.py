"""Fault injection: page requests that fail because somebody wants to see what happens then.

    request ─► can it match? ─► nth counts down ─► times left? ─► space used up?
                    │ no                                              │
                    ▼                    chance ◄── every interval-th ◄┘
                 succeeds

The rules and their order are those of the kernel's fail_page_alloc, but for the caller filter: it
stands first, so that nth counts only requests that match. Chance comes from a generator handed in
when the rules are made; it belongs to them and is dumped with them.

Source: mm/page_alloc.c, should_fail_alloc_page(); lib/fault-inject.c, should_fail_ex(); Linux 6.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypedDict

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.mm.gfp import GFP_DIRECT_RECLAIM, GFP_HIGHMEM, GFP_NOFAIL
from kernel_sim.random_state import WORD_MASK, RandomState


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """What shall fail; names and meanings are those of debugfs' fail_page_alloc.

    probability: percent. interval: of the requests that get so far, only every interval-th may
    fail. times: failures until it is over, -1 = no limit. space: pages that are given before the
    first failure. min_order: smaller blocks never fail. ignore_gfp_wait: who may wait for memory
    never fails. nth: the n-th matching request fails, 0 = the next one, None = not used.
    caller: a function's name that must be among those the caller states, "" = any.
    """

    probability: int = 0
    interval: int = 1
    times: int = -1
    space: int = 0
    min_order: int = 0
    ignore_gfp_highmem: bool = False
    ignore_gfp_wait: bool = False
    nth: int | None = None
    caller: str = ""

    def __post_init__(self) -> None:
        bounds = (
            ("probability", self.probability, 0, 100),
            ("interval", self.interval, 1, None),
            ("times", self.times, -1, None),
            ("space", self.space, 0, None),
            ("min_order", self.min_order, 0, None),
            ("nth", self.nth, 0, None),
        )
        for name, value, least, most in bounds:
            if value is not None and (value < least or (most is not None and value > most)):
                limits = f"{least} to {most}" if most is not None else f"{least} or more"
                raise ConfigError(f"fault injection: {name} is {value}, expected {limits}")


KERNEL_DEFAULTS: Final = FaultSettings(
    times=1, min_order=1, ignore_gfp_highmem=True, ignore_gfp_wait=True
)
"""What fail_page_alloc starts with: single pages and requests that may wait never fail."""


class FaultInjectionState(TypedDict):
    """A FaultInjection as builtin types; random: state and increment of the generator."""

    settings: dict[str, int | str | bool | None]
    random: tuple[int, int]
    times_left: int
    space_left: int
    nr_at_interval: int
    nth_left: int
    nr_failed: int


@dataclass(slots=True)
class FaultInjection:
    """Settings, and how far they have come; nth_left is -1 when no n-th request is awaited."""

    settings: FaultSettings
    random: RandomState
    times_left: int = field(init=False)
    space_left: int = field(init=False)
    nr_at_interval: int = field(init=False)
    nth_left: int = field(init=False)
    nr_failed: int = field(init=False)

    def __post_init__(self) -> None:
        self.times_left = self.settings.times
        self.space_left = self.settings.space
        self.nr_at_interval = 0
        self.nth_left = -1 if self.settings.nth is None else self.settings.nth
        self.nr_failed = 0

    def should_fail(self, *, gfp: int, order: int, caller: str = "") -> bool:
        """Say whether this request shall fail, and count it.

        caller: names of the functions on the way to the request, however separated.
        """
        if not self._matches(gfp, order, caller):
            return False
        if self.nth_left > 0:
            self.nth_left -= 1
            return False
        if self.nth_left == 0:
            self.nth_left = -1
            return self._fail()
        if self.settings.probability == 0 or self.times_left == 0:
            return False
        if self.space_left > 1 << order:
            self.space_left -= 1 << order
            return False
        if self.settings.interval > 1:
            self.nr_at_interval += 1
            if self.nr_at_interval % self.settings.interval:
                return False
        if self.settings.probability <= self.random.below(100):
            return False
        return self._fail()

    def dump(self) -> FaultInjectionState:
        """Return the whole state as builtin types."""
        names = FaultSettings.__dataclass_fields__
        return {
            "settings": {name: getattr(self.settings, name) for name in names},
            "random": (self.random.state, self.random.increment),
            "times_left": self.times_left,
            "space_left": self.space_left,
            "nr_at_interval": self.nr_at_interval,
            "nth_left": self.nth_left,
            "nr_failed": self.nr_failed,
        }

    @classmethod
    def load(cls, state: FaultInjectionState) -> FaultInjection:
        """Return a FaultInjection in the state that dump() described."""
        injection = cls(_settings(state["settings"]), RandomState(*state["random"]))
        injection.times_left = state["times_left"]
        injection.space_left = state["space_left"]
        injection.nr_at_interval = state["nr_at_interval"]
        injection.nth_left = state["nth_left"]
        injection.nr_failed = state["nr_failed"]
        return injection

    def check_invariants(self) -> None:
        """Raise InvariantBroken if a counter is where no run of requests can bring it."""
        bounds = (
            ("times_left", self.times_left, -1, max(self.settings.times, -1)),
            ("space_left", self.space_left, 0, self.settings.space),
            ("nth_left", self.nth_left, -1, -1 if self.settings.nth is None else self.settings.nth),
            ("nr_at_interval", self.nr_at_interval, 0, None),
            ("nr_failed", self.nr_failed, 0, None),
            ("random.state", self.random.state, 0, WORD_MASK),
        )
        for name, value, least, most in bounds:
            if value < least or (most is not None and value > most):
                raise InvariantBroken(f"fault injection: {name} is {value}")

    def _matches(self, gfp: int, order: int, caller: str) -> bool:
        settings = self.settings
        if order < settings.min_order or gfp & GFP_NOFAIL:
            return False
        if settings.ignore_gfp_highmem and gfp & GFP_HIGHMEM:
            return False
        if settings.ignore_gfp_wait and gfp & GFP_DIRECT_RECLAIM:
            return False
        return not settings.caller or settings.caller in re.findall(r"\w+", caller)

    def _fail(self) -> bool:
        if self.times_left > 0:
            self.times_left -= 1
        self.nr_failed += 1
        return True


def _settings(state: dict[str, int | str | bool | None]) -> FaultSettings:
    """Return settings from what dump() made of them; ConfigError if that is not what stands there."""
    defaults = {name: getattr(FaultSettings(), name) for name in FaultSettings.__dataclass_fields__}
    numbers: dict[str, int] = {}
    for name, default in defaults.items():
        value = state.get(name, default)
        if name in ("nth", "caller"):
            continue
        if not isinstance(value, int):
            raise ConfigError(f"fault injection: {name} is {value!r}, expected a number")
        numbers[name] = value
    nth, caller = state.get("nth"), state.get("caller", "")
    if not (nth is None or isinstance(nth, int)) or not isinstance(caller, str):
        raise ConfigError(f"fault injection: nth is {nth!r} and caller {caller!r}")
    return FaultSettings(
        probability=numbers["probability"],
        interval=numbers["interval"],
        times=numbers["times"],
        space=numbers["space"],
        min_order=numbers["min_order"],
        ignore_gfp_highmem=bool(numbers["ignore_gfp_highmem"]),
        ignore_gfp_wait=bool(numbers["ignore_gfp_wait"]),
        nth=nth,
        caller=caller,
    )
