"""The conformance of agents: every check, and one call that runs them.

report = rlsuite.testing.check_agent("rlsuite/QLearning-v0")
assert report.ok, str(report)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry.specs import AgentSpec
from rlsuite.testing import agent_acting, agent_ladder, agent_learning
from rlsuite.testing.agent_subject import AgentSubject, agent_subject
from rlsuite.testing.report import Check, CheckReport, CheckResult, run_checks

__all__ = ["AGENT_CHECKS", "AgentSubject", "agent_subject", "check_agent"]

AGENT_CHECKS: tuple[Check, ...] = (
    *agent_acting.CHECKS,
    *agent_learning.CHECKS,
    *agent_ladder.CHECKS,
)
"""Every check of an agent, in the order of the report."""


def check_agent(
    agent: str | type | AgentSubject,
    *,
    settings: Mapping[str, Any] | None = None,
    env: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    spec: AgentSpec | None = None,
    progress: Callable[[CheckResult], None] | None = None,
) -> CheckReport:
    """Runs every check on an agent.

    Args:
        agent: The id of an agent, or a class that `rlsuite.benchmark` would take. A class without
            `learn` learns nothing: it is checked as it was made.
        settings: Settings over the defaults and the `check_settings` of its spec.
        env: The id of a task to check the contract on, instead of a five-state walk. The ladder of
            tiny tasks is the same for all.
        env_kwargs: Keywords of that environment.
        spec: For a class: what it promises, learns and handles.
        progress: Called with each result.

    Raises:
        UnknownIdError: No agent, or no environment, has this id.
        SettingError: Neither an id nor a class; an unknown setting or keyword, or a value outside
            its range.
    """
    subject = agent_subject(agent, settings=settings, env=env, env_kwargs=env_kwargs, spec=spec)
    return run_checks("agent", subject.name, subject, AGENT_CHECKS, progress)
