"""The conformance kit: is an environment, or an agent, what it promises to be?

`check_env(id)` and `check_agent(id)` run every check and return a report; `ENV_CHECKS` and
`AGENT_CHECKS` are the checks one by one, for a parametrised test. `rlsuite check` and
`pytest --rlsuite-env ID --rlsuite-agent ID` do the same from a shell.
"""

from rlsuite.testing.agent_checks import AGENT_CHECKS, AgentSubject, agent_subject, check_agent
from rlsuite.testing.env_checks import ENV_CHECKS, EnvSubject, check_env, env_subject
from rlsuite.testing.report import Check, CheckReport, CheckResult

__all__ = [
    "AGENT_CHECKS",
    "ENV_CHECKS",
    "AgentSubject",
    "Check",
    "CheckReport",
    "CheckResult",
    "EnvSubject",
    "agent_subject",
    "check_agent",
    "check_env",
    "env_subject",
]
