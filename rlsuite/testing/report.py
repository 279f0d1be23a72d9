"""What a check is, what it answers, and the report of all of them.

A check is a function of a subject that raises `Failure` with a sentence where the subject breaks a
promise, and `Skip` with a reason where the promise does not apply. Whatever else it raises was
raised by the subject, and is a failure too.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rlsuite.isolation import global_streams

__all__ = [
    "Check",
    "CheckReport",
    "CheckResult",
    "Failure",
    "Skip",
    "Status",
    "check",
    "require",
    "run_checks",
]

Status = Literal["passed", "failed", "skipped"]

LONGEST_REASON = 600


class Failure(Exception):
    """A promise that is broken; the message says which, where, and what would be right."""


class Skip(Exception):
    """A promise that does not apply here; the message says why."""


def require(condition: object, message: str) -> None:
    """Raises `Failure` with the message unless the condition holds."""
    if not condition:
        raise Failure(message)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer of one check. `reason` is empty where it passed."""

    name: str
    status: Status
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.status}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Check:
    """A named check of an environment or an agent."""

    name: str
    summary: str
    function: Callable[[Any], None]

    def __str__(self) -> str:
        return self.name

    def run(self, subject: Any) -> CheckResult:
        """Runs the check; never raises what the subject raised.

        Global generators end as they were found, and warnings are heard only by the checks that are
        about them.
        """
        try:
            with global_streams(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.function(subject)
        except Skip as skip:
            return CheckResult(self.name, "skipped", _one_line(str(skip)))
        except Failure as failure:
            return CheckResult(self.name, "failed", _one_line(str(failure)))
        except Exception as error:
            return CheckResult(
                self.name, "failed", _one_line(f"it raised {type(error).__name__}: {error}")
            )
        return CheckResult(self.name, "passed")


def check(function: Callable[[Any], None]) -> Check:
    """Makes a check of a function: its name is the check's, its first line the summary."""
    summary = (function.__doc__ or "").strip().partition("\n")[0]
    return Check(function.__name__, summary, function)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All answers about one subject; `kind` is `"env"`, `"agent"` or `"alignment"`."""

    kind: str
    subject: str
    results: tuple[CheckResult, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.with_status("failed")

    def with_status(self, status: Status) -> tuple[CheckResult, ...]:
        """The results of one status."""
        return tuple(result for result in self.results if result.status == status)

    def result(self, name: str) -> CheckResult:
        """The result of the check of this name; raises `KeyError` where there is none."""
        return {result.name: result for result in self.results}[name]

    def rows(self) -> list[tuple[str, str, str]]:
        """(check, status, reason), in the order of the checks."""
        return [(result.name, result.status, result.reason) for result in self.results]

    @property
    def summary(self) -> str:
        """How many passed, failed and were skipped."""
        counts = [
            f"{len(self.with_status(status))} {status}"
            for status in ("passed", "failed", "skipped")
        ]
        return f"{self.kind} {self.subject}: {', '.join(counts)}"

    def __str__(self) -> str:
        width = max((len(result.name) for result in self.results), default=0)
        lines = [
            f"{result.name.ljust(width)}  {result.status.ljust(7)}  {result.reason}".rstrip()
            for result in self.results
        ]
        return "\n".join([*lines, self.summary])

    def to_json(self) -> str:
        """One JSON object: kind, subject, counts, and the results."""
        counts = {s: len(self.with_status(s)) for s in ("passed", "failed", "skipped")}
        return json.dumps(
            {
                "kind": self.kind,
                "subject": self.subject,
                "ok": self.ok,
                "counts": counts,
                "checks": [asdict(result) for result in self.results],
            },
            indent=2,
        )


def run_checks(
    kind: str,
    name: str,
    subject: Any,
    checks: Iterable[Check],
    progress: Callable[[CheckResult], None] | None = None,
) -> CheckReport:
    """Runs every check, also after one that failed. `progress` is told of each result."""
    results = []
    for one in checks:
        results.append(one.run(subject))
        if progress is not None:
            progress(results[-1])
    return CheckReport(kind, name, tuple(results))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 3] + "..."
