"""The conformance of environments: every check, and one call that runs them.

report = rlsuite.testing.check_env("rlsuite/GridWorld-v0")
assert report.ok, str(report)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gymnasium.envs.registration import EnvSpec

from rlsuite.testing import env_answers, env_api, env_course, env_render, env_vector
from rlsuite.testing.env_subject import EnvSubject, env_subject
from rlsuite.testing.report import Check, CheckReport, CheckResult, run_checks

__all__ = ["ENV_CHECKS", "EnvSubject", "check_env", "env_subject"]

ENV_CHECKS: tuple[Check, ...] = (
    *env_api.CHECKS,
    *env_course.CHECKS,
    *env_answers.CHECKS,
    *env_vector.CHECKS,
    *env_render.CHECKS,
)
"""Every check of an environment, in the order of the report."""


def check_env(
    env: str | EnvSpec | EnvSubject,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[CheckResult], None] | None = None,
) -> CheckReport:
    """Runs every check on an environment.

    Args:
        env: The id of an environment (`module:id` imports the module first), or its spec.
        env_kwargs: Keywords that the environment is made with.
        progress: Called with each result.

    Raises:
        UnknownIdError: Gymnasium knows no environment of this id.
        SettingError: Neither an id nor a spec; a keyword that the environment does not take, or
            not with this value; or a `render_mode`, since the kit tries all of them itself.
        gymnasium.error.Error: It needs a library that is not installed.
    """
    subject = env_subject(env, env_kwargs)
    return run_checks("env", subject.id, subject, ENV_CHECKS, progress)
