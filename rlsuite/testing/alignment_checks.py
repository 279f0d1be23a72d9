"""Checks before an agent is trained on texts: every check, and one call that runs them.

report = rlsuite.testing.check_alignment("rlsuite/GRPO-v0", env="rlsuite/TokenGeneration-v0")
assert report.ok, str(report)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry.specs import AgentSpec
from rlsuite.testing import alignment_policy, alignment_task, alignment_update
from rlsuite.testing.agent_subject import AgentSubject
from rlsuite.testing.alignment_subject import AlignmentSubject, alignment_subject
from rlsuite.testing.report import Check, CheckReport, CheckResult, run_checks

__all__ = ["ALIGNMENT_CHECKS", "AlignmentSubject", "alignment_subject", "check_alignment"]

ALIGNMENT_CHECKS: tuple[Check, ...] = (
    *alignment_task.CHECKS,
    *alignment_policy.CHECKS,
    *alignment_update.CHECKS,
)
"""Every check of an agent on a token task, in the order of the report."""


def check_alignment(
    agent: str | type | AgentSubject | AlignmentSubject,
    *,
    env: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    spec: AgentSpec | None = None,
    progress: Callable[[CheckResult], None] | None = None,
) -> CheckReport:
    """Runs every check on an agent and the token task that it is to be trained on.

    Nothing of the user's is trained: small agents are made, and their updates looked at.

    Args:
        agent: The id of an agent, or a class; see `check_agent`.
        env: The id of a token task, wrappers included; None: `rlsuite/TokenGeneration-v0`.
        env_kwargs: Keywords of that environment.
        settings: Settings of the agent over the defaults, as they will be in the training.
        spec: For a class: what it handles.
        progress: Called with each result.

    Raises:
        UnknownIdError: No agent, or no environment, has this id.
        SettingError: The environment is no token task, or the agent refuses it; an unknown setting
            or keyword, or a value outside its range.
        UnsupportedSpaceError: The agent cannot act in this environment.
    """
    subject = alignment_subject(agent, env=env, env_kwargs=env_kwargs, settings=settings, spec=spec)
    return run_checks("alignment", subject.name, subject, ALIGNMENT_CHECKS, progress)
