"""The conformance kit inside pytest: `pytest --rlsuite-env ID --rlsuite-agent ID`.

Every check becomes a test `rlsuite::env[ID]::check`. pytest imports this package at each start, in
every project of an installation, so it is a package of its own that imports nothing of rlsuite
before one of the two options is used.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["pytest_addoption", "pytest_collection_modifyitems"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the two options."""
    group = parser.getgroup("rlsuite", "conformance of environments and agents (rlsuite)")
    group.addoption(
        "--rlsuite-env",
        action="append",
        default=[],
        metavar="ID",
        help="Run rlsuite's checks on this environment ('module:id' imports the module first); "
        "may be given again.",
    )
    group.addoption(
        "--rlsuite-agent",
        action="append",
        default=[],
        metavar="ID",
        help="Run rlsuite's checks on this registered agent; may be given again.",
    )


@pytest.hookimpl(tryfirst=True)  # before `-k` and `-m` select
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Appends one test per check."""
    environments = config.getoption("rlsuite_env")
    agents = config.getoption("rlsuite_agent")
    if not environments and not agents:
        return
    for kind, identifiers in (("env", environments), ("agent", agents)):
        for identifier in dict.fromkeys(identifiers):
            items.extend(_tests(session, kind, identifier))


def _tests(session: pytest.Session, kind: str, identifier: str) -> list[pytest.Item]:
    from gymnasium.error import Error

    from registry.errors import RlsuiteError
    from rlsuite.testing import AGENT_CHECKS, ENV_CHECKS, agent_subject, env_subject

    try:
        subject: Any = env_subject(identifier) if kind == "env" else agent_subject(identifier)
    except (RlsuiteError, Error) as error:
        raise pytest.UsageError(f"--rlsuite-{kind} {identifier}: {error}") from error
    group = CheckGroup.from_parent(session, name=f"{kind}[{identifier}]", nodeid="rlsuite")
    return [
        CheckItem.from_parent(group, name=f"{kind}[{identifier}]::{one.name}", run=one, on=subject)
        for one in (ENV_CHECKS if kind == "env" else AGENT_CHECKS)
    ]


class CheckGroup(pytest.Collector):
    """All checks of one subject."""

    def collect(self) -> list[pytest.Item]:
        """Nothing: its tests are made where it is."""
        return []


class BrokenPromise(Exception):
    """A check that failed, with its reason."""


class CheckItem(pytest.Item):
    """One check of one subject."""

    def __init__(self, *, run: Any, on: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._check, self._subject = run, on

    def runtest(self) -> None:
        """Runs the check."""
        result = self._check.run(self._subject)
        if result.status == "skipped":
            pytest.skip(result.reason)
        if result.status == "failed":
            raise BrokenPromise(result.reason)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The reason alone, for a promise that is broken."""
        if isinstance(excinfo.value, BrokenPromise):
            return f"{self._check.summary}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where: the check's own name."""
        return self.path, None, self.name
