"""The conformance kit: is an environment, or an agent, what it promises to be?

`check_env(id)` and `check_agent(id)` run every check and return a report, and so does
`check_alignment(agent, env=...)` before an agent is trained on texts; `ENV_CHECKS`, `AGENT_CHECKS`
and `ALIGNMENT_CHECKS` are the checks one by one, for a parametrised test. `rlsuite check` and
`pytest --rlsuite-env ID --rlsuite-agent ID` do the same from a shell.
"""

from rlsuite.testing.agent_checks import AGENT_CHECKS, AgentSubject, agent_subject, check_agent
from rlsuite.testing.alignment_checks import (
    ALIGNMENT_CHECKS,
    AlignmentSubject,
    alignment_subject,
    check_alignment,
)
from rlsuite.testing.env_checks import ENV_CHECKS, EnvSubject, check_env, env_subject
from rlsuite.testing.report import Check, CheckReport, CheckResult

__all__ = [
    "AGENT_CHECKS",
    "ALIGNMENT_CHECKS",
    "ENV_CHECKS",
    "AgentSubject",
    "AlignmentSubject",
    "Check",
    "CheckReport",
    "CheckResult",
    "EnvSubject",
    "agent_subject",
    "alignment_subject",
    "check_agent",
    "check_alignment",
    "check_env",
    "env_subject",
]
