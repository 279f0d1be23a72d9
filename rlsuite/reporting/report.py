"""Records to one self-contained HTML file: it opens anywhere, and asks the network for nothing.

    rlsuite bench report quick

The page is readable without its script, which only sorts and filters tables. It depends on the
records and the arguments alone, so the same records give the same bytes. Everything that comes
from a record, ids, labels, logs, is escaped; the data block cannot end its script element; and the
page's own policy forbids it any request.

A plugin adds a section with `registry.add_report_section(id, "package.module:function")`: a
function of the records, `Sequence[RunRecord] -> str`, whose HTML is trusted as the plugin is. A
section that raises becomes a visible note.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from registry.catalogue import registry
from registry.errors import StoreError
from registry.specs import Entry
from rlsuite.records import RunRecord, TrainingCurve
from rlsuite.reporting import report_views as views
from rlsuite.reporting.axes import thin
from rlsuite.reporting.boards import Leaderboard
from rlsuite.reporting.comparing import compare_boards
from rlsuite.reporting.comparison_views import comparison_views
from rlsuite.reporting.formatting import seconds_text
from rlsuite.reporting.gathering import FULL, gathered, shown_runs
from rlsuite.reporting.leaderboard import boards_of, distinct_records
from rlsuite.reporting.pictures import Filmstrip
from rlsuite.reporting.record_views import (
    failure_views,
    machine_view,
    note_views,
    setting_views,
)
from rlsuite.reporting.study_views import study_views
from rlsuite.reporting.task_views import task_views

__all__ = ["render_report", "write_report"]

TEMPLATES = Path(__file__).parent / "templates"

WINDOWS = 40_000
"""Windows of training of all runs in the data of a page; at most 200 and at least 20 of a run."""


def write_report(
    records: Iterable[RunRecord],
    path: str | os.PathLike[str],
    *,
    title: str = "Benchmark report",
    command: str = "",
    suite: Any = None,
    pictures: Mapping[str, Filmstrip] | None = None,
    boards: Sequence[Leaderboard] | None = None,
) -> Path:
    """Writes the report, whole or not at all.

    Args:
        records: finished cells, in any order. None at all gives a page that says so.
        path: the file; folders above it are made, a file that is there is replaced.
        title: the headline.
        command: what to type to get these results again.
        suite: the suite or its name, for the headline.
        pictures: of trained policies, by task id: see `task_pictures`.
        boards: what `leaderboards` makes of these records, where that is known already.

    Returns:
        The path that was written.

    Raises:
        StoreError: the file cannot be written; what was there before is untouched.
    """
    text = render_report(
        records, title=title, command=command, suite=suite, pictures=pictures, boards=boards
    )
    target = Path(path)
    try:
        _write_atomically(target, text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(
            f"cannot write the report to {str(target)!r}: {reason}. Give a path to a file in a "
            "folder that you may write to."
        ) from error
    return target


def render_report(
    records: Iterable[RunRecord],
    *,
    title: str = "Benchmark report",
    command: str = "",
    suite: Any = None,
    pictures: Mapping[str, Filmstrip] | None = None,
    boards: Sequence[Leaderboard] | None = None,
    sections: Iterable[Entry] | None = None,
) -> str:
    """The report as a string of HTML; `sections` are those of all plugins unless given."""
    everything = gathered(records)
    kept, notes = distinct_records(everything)
    entries = registry.entries("report_section") if sections is None else sections
    context = {}
    if kept:
        context = _context(kept, boards_of(kept, notes) if boards is None else boards, pictures)
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            command=command,
            suite=getattr(suite, "name", suite) or "",
            headline=_headline(kept),
            studies=study_views(everything),
            css=_file("report.css"),
            js=_file("report.js"),
            data=_data(kept, title, command),
            sections=[_section(entry, kept) for entry in entries],
            **context,
        )
    )


def _context(
    records: Sequence[RunRecord],
    boards: Sequence[Leaderboard],
    pictures: Mapping[str, Filmstrip] | None,
) -> dict[str, Any]:
    compared = compare_boards(boards, records)
    shown = shown_runs(records)
    return {
        "boards": views.board_views(boards, compared),
        "comparisons": comparison_views(boards, compared),
        "tasks": task_views(boards, records, pictures or {}),
        "run_columns": views.RUN_COLUMNS,
        "runs": views.run_rows(shown),
        "notes": note_views(records),
        "failures": failure_views(records),
        "settings": setting_views(records),
        "machine": machine_view(records),
        "time_columns": views.TIME_COLUMNS,
        "times": views.time_rows(records),
    }


def _headline(records: Sequence[RunRecord]) -> dict[str, Any]:
    seconds = sum(record.train_seconds + record.eval_seconds for record in records)
    return {
        "runs": len(records),
        "failed": sum(record.state != "ok" for record in records),
        "agents": len({(record.agent, record.agent_id) for record in records}),
        "tasks": len({record.task for record in records}),
        "steps": f"{sum(record.steps_used for record in records):,}",
        "shown": min(len(records), FULL),
        "seconds": seconds_text(seconds),
    }


def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minus"] = _with_minus_signs
    return environment


def _with_minus_signs(words: str) -> str:
    """Proper minus signs in figures; words keep their hyphens."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", words)


def _file(name: str) -> Any:
    """A file of ours that goes into the page as it is."""
    from markupsafe import Markup

    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _section(entry: Entry, records: Sequence[RunRecord]) -> dict[str, Any]:
    """A plugin's section, or a note that it failed; nothing it raises stops the report."""
    from markupsafe import Markup

    shown = {"title": str(entry.meta.get("summary") or entry.id), "source": str(entry.provenance)}
    try:
        made = entry.load()(records)
        if not isinstance(made, str):
            raise TypeError(f"a report section returns HTML as a string, got {type(made).__name__}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit too
        return {**shown, "id": entry.id, "error": f"{type(error).__name__}: {error}"}
    return {**shown, "id": entry.id, "html": Markup(made)}


def _data(records: Sequence[RunRecord], title: str, command: str) -> Any:
    """The figures of the runs shown, as JSON that cannot end its script or start another."""
    from markupsafe import Markup

    shown = shown_runs(records)
    windows = min(200, max(20, WINDOWS // max(len(shown), 1)))
    machines: dict[str, int] = {}
    fingerprints: list[Any] = []
    runs = []
    for record in shown:
        text = repr(record.fingerprint)
        if text not in machines:
            machines[text] = len(fingerprints)
            fingerprints.append(_finite(dict(record.fingerprint)))
        runs.append({**_run_data(record, windows), "fingerprint": machines[text]})
    content = {
        "title": title,
        "command": command,
        "runs_in_all": len(records),
        "fingerprints": fingerprints,
        "runs": runs,
    }
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _run_data(r: RunRecord, windows: int) -> dict[str, Any]:
    figures = {
        "total_timesteps": r.total_timesteps,
        "steps_used": r.steps_used,
        "return": r.mean_return,
        "low": r.low,
        "high": r.high,
        "score": r.score,
        "regret": r.regret,
        "optimal_return": r.optimal_return,
        "baseline_return": r.baseline_return,
        "metrics": dict(r.metrics),
        "train_seconds": r.train_seconds,
        "eval_seconds": r.eval_seconds,
        "settings": dict(r.settings),
    }
    return {
        "key": r.key.digest,
        "task": r.task,
        "env_id": r.env_id,
        "family": r.family,
        "metric": r.metric,
        "agent": r.agent,
        "agent_id": r.agent_id,
        "seed": r.seed,
        "state": r.state,
        "error": r.error,
        "method": r.method,
        "notes": list(r.notes),
        "started_at": r.started_at,
        "curve": [_finite([p.step, p.mean_return, p.score, p.regret]) for p in r.curve],
        "training": _training_data(r.training, windows),
        "episode_returns": _finite([episode.episode_return for episode in r.episodes]),
        **_finite(figures),
    }


def _training_data(curve: TrainingCurve | None, windows: int) -> list[list[float | None]] | None:
    """So many windows of (step, mean return, cumulative regret)."""
    if curve is None:
        return None
    chosen = thin(len(curve.step), windows)
    columns = (curve.step[chosen], curve.mean[chosen], curve.regret[chosen])
    rows = np.stack(columns, axis=1).astype(np.float64)
    return [[v if math.isfinite(v) else None for v in row] for row in rows.tolist()]


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null, and strangers' values their text."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        return _finite(value.item())
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:  # "x" makes a file as open to others as the umask says; those of tempfile are not
        with open(name, "x", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
