"""A running benchmark as JSON, one object on a line for each event."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlsuite.benchmarking import BenchmarkResult
from rlsuite.reporting.formatting import last_line
from rlsuite.running.events import (
    CellElsewhere,
    CellFinished,
    CellProgress,
    CellRetried,
    CellStarted,
    Event,
    SuiteStarted,
)
from rlsuite.sessions import json_plain

__all__ = ["done_line", "interrupted_line", "json_line"]

NAMES = {
    SuiteStarted: "planned",
    CellStarted: "started",
    CellProgress: "progress",
    CellRetried: "retried",
    CellElsewhere: "elsewhere",
    CellFinished: "finished",
}


def json_line(event: Event) -> str:
    """One event; `index` counts the cells of the suite from 0."""
    return _line({"event": NAMES[type(event)], **_facts(event)})


def done_line(result: BenchmarkResult, report: Path | None) -> str:
    """The last line of a run."""
    return _line(
        {
            "event": "done",
            "suite": result.suite.name,
            "cells": len(result.records),
            "states": dict(Counter(record.state for record in result.records)),
            "failed": len(result.failed),
            "reused": result.reused,
            "notes": list(result.notes),
            "store": str(result.store_path),
            "report": None if report is None else str(report),
        }
    )


def interrupted_line(suite: str, store: Path) -> str:
    """The last line of a run that was interrupted."""
    return _line({"event": "interrupted", "suite": suite, "store": str(store)})


def _facts(event: Event) -> dict[str, Any]:
    if isinstance(event, SuiteStarted):
        return {"total": event.total, "reused": event.reused, "to_run": len(event.to_run)}
    if not isinstance(event, CellFinished):
        return asdict(event)
    record = event.record
    return {
        "index": event.index,
        "total": event.total,
        "task": record.task,
        "agent": record.agent,
        "seed": record.seed,
        "state": record.state,
        "reused": event.reused,
        "mean_return": record.mean_return,
        "score": record.score,
        "regret": record.regret,
        "steps": record.steps_used,
        "seconds": record.train_seconds + record.eval_seconds,
        "error": last_line(record.error) if record.error else "",
        "digest": record.key.digest,
    }


def _line(facts: dict[str, Any]) -> str:
    return json.dumps(json_plain(facts), allow_nan=False)
