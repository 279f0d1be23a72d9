"""What `rlsuite bench plan` and `rlsuite bench status` show; nothing is run and nothing written."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from registry.errors import SettingError, StoreError, SuiteError
from rlsuite.cli.console import counted, print_table
from rlsuite.running.leases import is_alive
from rlsuite.running.looks import chosen_kinds, contests_of
from rlsuite.running.planning import (
    Chooser,
    chosen_by,
    make_plan,
    refuse_unmatched,
    with_more_seeds,
)
from rlsuite.store import DEFAULT_PATH, Store
from rlsuite.stored import is_store, refuse_second_store
from rlsuite.suite import Suite, load_suite

__all__ = ["Selection", "show_plan", "show_status"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which cells of a suite, as the command line says it."""

    only: tuple[str, ...] = ()
    retry_failed: bool = False
    seeds: int | None = None
    add_seeds: int | None = None
    until_clear: bool = False
    max_seeds: int | None = None

    def __post_init__(self) -> None:
        if self.until_clear and (self.retry_failed or self.add_seeds is not None):
            name = "--retry-failed" if self.retry_failed else "--add-seeds"
            raise SettingError(
                f"--until-clear chooses the seeds itself, and tries failed cells again when it is "
                f"started again: leave {name} out."
            )
        if self.max_seeds is not None and not self.until_clear:
            raise SettingError("--max-seeds goes with --until-clear: add that, or use --seeds.")

    def suite(self, name: str) -> Suite:
        """The suite with its seeds.

        Raises:
            SuiteError: fewer than one seed, or a pattern that fits no cell.
        """
        suite = load_suite(name)
        if self.seeds is not None:
            if self.seeds < 1:
                raise SuiteError(f"--seeds is a whole number of at least 1, got {self.seeds}.")
            grids = [replace(grid, seeds=tuple(range(self.seeds))) for grid in suite.grids]
            suite = replace(suite, grids=tuple(grids))
        suite = suite if self.add_seeds is None else with_more_seeds(suite, self.add_seeds)
        refuse_unmatched(suite, self.only)
        return suite

    def choose(self) -> Chooser | None:
        """The choice for `benchmark`."""
        return chosen_by(self.only, self.retry_failed)

    def words(self) -> list[str]:
        """The options, as they were typed."""
        words = [] if self.seeds is None else ["--seeds", str(self.seeds)]
        words += [] if self.add_seeds is None else ["--add-seeds", str(self.add_seeds)]
        for pattern in self.only:
            words += ["--only", pattern]
        words += ["--until-clear"] if self.until_clear else []
        words += [] if self.max_seeds is None else ["--max-seeds", str(self.max_seeds)]
        return [*words, "--retry-failed"] if self.retry_failed else words


def show_plan(name: str, *, store: Path | None, selection: Selection, as_json: bool) -> None:
    """Prints the cells of a suite, what is stored of them, and what would be run."""
    suite, choose = selection.suite(name), selection.choose()
    plan = make_plan(suite, store, choose)
    looks: dict[str, tuple[int, ...]] = {}
    if selection.until_clear:
        found = contests_of(chosen_kinds(suite, choose), selection.max_seeds)
        looks = {contest.family: contest.looks for contest in found}
    if as_json:
        facts = {**plan.as_json(), "looks": looks} if looks else plan.as_json()
        typer.echo(json.dumps(facts, indent=2))
        return
    rows = [
        [task, agent, str(states.total()), _states(states), f"{run:,}", f"{steps:,}"]
        for task, agent, states, run, steps in plan.rows()
    ]
    columns = ["task", "agent", "cells", "states", "to run", "steps to run"]
    print_table(f"Suite {plan.suite.name}, store {plan.store_path}", columns, rows, right={2, 4, 5})
    typer.echo(f"{counted(plan.to_run, 'cell')} of {len(plan.cells):,} would be run.")
    for family, after in looks.items():
        seeds = ", ".join(map(str, after))
        typer.echo(f"That is the first look; {family} is looked at after {seeds} seeds.")


def show_status(source: str | None, *, store: Path | None, as_json: bool) -> None:
    """Prints how many cells are in which state: of a store, or of a suite in a store."""
    if source is None:
        _store_status(DEFAULT_PATH if store is None else store, as_json)
        return
    if is_store(source):
        refuse_second_store(source, store)
        _store_status(Path(source), as_json)
        return
    plan = make_plan(load_suite(source), store)
    found = [(task, agent, states) for task, agent, states, _, _ in plan.rows()]
    _print_status(str(plan.store_path), found, as_json)


def _store_status(path: Path, as_json: bool) -> None:
    """Counted by the store itself, so that it is quick however much there is."""
    if not path.is_file():
        raise StoreError(f"there is no store {path}: run a suite first, or name another one.")
    with Store(path, read_only=True) as opened:
        counts, leases = opened.counts(), opened.leases()
    found: dict[tuple[str, str], Counter[str]] = {}
    for task, agent, state, count in counts:
        found.setdefault((task, agent), Counter())[state] = count
    running = sum(is_alive(lease.owner) is not False for lease in leases.values())
    pairs = [(task, agent, states) for (task, agent), states in found.items()]
    _print_status(str(path), pairs, as_json, running)


def _print_status(
    store: str, found: list[tuple[str, str, Counter[str]]], as_json: bool, running: int = 0
) -> None:
    total: Counter[str] = Counter()
    for _, _, states in found:
        total.update(states)
    if running:
        total["running"] += running
    if as_json:
        pairs: list[Any] = [
            {"task": task, "agent": agent, "states": dict(states)} for task, agent, states in found
        ]
        typer.echo(json.dumps({"store": store, "states": dict(total), "pairs": pairs}, indent=2))
        return
    rows = [[task, agent, str(s.total()), _states(s)] for task, agent, s in found]
    print_table(f"Store {store}", ["task", "agent", "cells", "states"], rows, right={2})
    typer.echo(f"All: {_states(total) or 'nothing yet'}")


def _states(states: Counter[str]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
