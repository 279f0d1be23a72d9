"""What a look of `rlsuite bench run --until-clear` decided: lines of text, or of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rlsuite.cli.console import counted
from rlsuite.reporting.formatting import number
from rlsuite.running.looks import FamilyDecision
from rlsuite.sessions import json_plain
from rlsuite.statistics import PairDecision

__all__ = ["look_lines"]


def look_lines(decisions: Iterable[FamilyDecision], as_json: bool) -> Iterator[str]:
    """What is decided, what is not, and how much may come."""
    for decision in decisions:
        if as_json:
            facts = {"event": "look", **asdict(decision), "clear": decision.clear}
            yield json.dumps(json_plain(facts), allow_nan=False)
        else:
            yield from _text(decision)


def _text(decision: FamilyDecision) -> Iterator[str]:
    on = f" on {decision.tasks[0]}" if len(decision.tasks) == 1 else ""
    looks = ", ".join(map(str, decision.looks))
    yield f"Look at {decision.family}, {decision.quantity}{on}; looks after {looks} seeds"
    for pair in decision.pairs:
        yield f"  {_pair(pair)}"
    for agent, count in decision.failed.items():
        yield f"  {agent}: {counted(count, 'failed run')}, counted as the worst outcome"
    yield f"  {decision.sentence}"
    if decision.most_cells:
        yield f"  At most {counted(decision.most_cells, 'more cell')} until the last look."


def _pair(pair: PairDecision) -> str:
    difference = f"{pair.first} - {pair.second}: {number(pair.difference)}"
    if pair.better is None:
        return f"{pair.first} and {pair.second} are not told apart ({difference})"
    worse = pair.second if pair.better == pair.first else pair.first
    return f"{pair.better} is better than {worse}, clear after {pair.look} seeds ({difference})"
