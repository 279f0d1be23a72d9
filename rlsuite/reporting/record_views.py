"""What stands beside the figures: notes, failures, settings, versions and machines."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlsuite.records import RunRecord
from rlsuite.reporting.formatting import last_line

__all__ = ["failure_views", "machine_view", "note_views", "seed_ranges", "setting_views"]

LOGS = 100
"""How many logs a report shows, each of a failure that reads differently."""

LOG_CHARACTERS = 6_000
"""How much of the end of a log it shows."""

STATES = {
    "failed": "its code raised, crashed or left the process",
    "timeout": "it was stopped at its limit of time",
    "oom": "it was stopped at its limit of memory",
    "killed": "somebody else ended its process, every time it was tried",
    "skipped": "a library that its environment needs is not installed",
}

WHO = 20
"""How many agents with their tasks, or ranges of seeds, are named where many are meant."""

MACHINES = 12
"""How many installations stand side by side: those with the most runs."""


def note_views(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """Each distinct note of the records, and the runs that carry it."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        for note in record.notes:
            found.setdefault(note, []).append(record)
    return [(note, _who(runs)) for note, runs in sorted(found.items())]


def _who(runs: Sequence[RunRecord]) -> str:
    """`q on GridWorld (seeds 0–4, 7)`, for every agent and task; of many, the first twenty."""
    groups: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        groups.setdefault((run.agent, run.task), []).append(run.seed)
    parts = [
        f"{agent} on {task} ({seed_ranges(seeds)})"
        for (agent, task), seeds in list(groups.items())[:WHO]
    ]
    if len(groups) > WHO:
        parts.append(f"and {len(groups) - WHO:,} more pairs of agent and task")
    return "; ".join(parts)


def seed_ranges(seeds: Sequence[int]) -> str:
    """`seed 3`, or `seeds 0–4, 7`."""
    ordered = sorted(set(seeds))
    starts = [i for i, seed in enumerate(ordered) if i == 0 or seed != ordered[i - 1] + 1]
    parts = []
    for start, stop in zip(starts, [*starts[1:], len(ordered)], strict=True):
        first, last = ordered[start], ordered[stop - 1]
        joint = ", " if last == first + 1 else "–"
        parts.append(str(first) if first == last else f"{first}{joint}{last}")
    if len(parts) > WHO:
        parts = [*parts[:WHO], "…"]
    return f"seed{'s' * (len(ordered) > 1)} {', '.join(parts)}"


def failure_views(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Runs that did not finish, each with its true state and the tail of its log.

    Runs of one agent on one task that ended alike stand once, with the log of the first.
    """
    groups: dict[tuple[str, str, str, str], list[RunRecord]] = {}
    for r in records:
        if r.state != "ok":
            groups.setdefault((r.agent, r.task, r.state, last_line(r.error)), []).append(r)
    shown = list(groups.items())[:LOGS]
    states = Counter(r.state for r in records if r.state != "ok")
    return {
        "states": [
            (state, count, STATES.get(state, "")) for state, count in sorted(states.items())
        ],
        "groups": [
            {
                "name": f"{agent} on {task}, {seed_ranges([run.seed for run in runs])}",
                "state": state,
                "count": len(runs),
                "reason": _readable(reason) if runs[0].error.strip() else "no log",
                "log": _tail(_readable(runs[0].error)) or "The run left no log.",
            }
            for (agent, task, state, reason), runs in shown
        ],
        "more": len(groups) - len(shown),
    }


def _tail(log: str) -> str:
    return log if len(log) <= LOG_CHARACTERS else f"…{log[-LOG_CHARACTERS:]}"


def _readable(log: str) -> str:
    """A log without terminal colours and without characters that HTML does not know."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", log)
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", plain)


def setting_views(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The settings of each agent; those that differ between its tasks stand once for each."""
    texts = _Texts()
    found: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for r in records:
        tasks = found.setdefault((r.agent, r.agent_id), {})
        tasks.setdefault(texts.of(r.settings), {})[r.task] = None
    return [
        {
            "agent": agent,
            "agent_id": agent_id,
            "variants": [
                {
                    "tasks": ", ".join(tasks) if len(variants) > 1 else "",
                    "settings": [(k, _plain(v)) for k, v in json.loads(text).items()],
                }
                for text, tasks in variants.items()
            ],
        }
        for (agent, agent_id), variants in sorted(found.items())
    ]


def machine_view(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Versions and machines: a column for each distinct fingerprint, most runs first."""
    texts = _Texts()
    found = Counter(texts.of(record.fingerprint) for record in records)
    prints = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    flat = [_flat(json.loads(text)) for text, _ in prints[:MACHINES]]
    keys = sorted({key for one in flat for key in one})
    started = [record.started_at for record in records if record.started_at]
    return {
        "count": len(prints),
        "heads": [f"{runs:,} run{'s' * (runs != 1)}" for _, runs in prints[:MACHINES]],
        "rows": [
            {
                "key": key,
                "values": [one.get(key, "–") for one in flat],
                "differs": len({one.get(key) for one in flat}) > 1,
            }
            for key in keys
        ],
        "started": (min(started), max(started)) if started else None,
    }


@dataclass(slots=True)
class _Texts:
    """JSON of mappings that many records share; equal ones are written once."""

    known: dict[str, str] = field(default_factory=dict)

    def of(self, value: Mapping[str, Any]) -> str:
        as_given = repr(value)
        if as_given not in self.known:
            self.known[as_given] = json.dumps(dict(value), sort_keys=True, default=str)
        return self.known[as_given]


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys."""
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= _flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = _plain(item)
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
