"""Off-policy evaluation: what a policy would earn, estimated from decisions of another one.

| question | function |
| --- | --- |
| how is a log made | `record` (an agent that acts and learns), `BanditLog`, `from_frame`, `read` |
| what would a policy earn | `evaluate` |
| one estimator on arrays | `ipw`, `snipw`, `direct_method`, `doubly_robust`, `switch_dr`, `dros`, |
| | `self_normalized_dr`, `replay`: pure functions that give `Terms` |
| how sure is that | `bootstrap_intervals`, `bernstein_interval` |
| what do rewards depend on | `cross_fitted` (scikit-learn, extra `ope`) |

Formulas, columns of files, how often intervals hold the truth, and how to deploy a policy safely:
docs/off_policy_evaluation.md.
"""

from __future__ import annotations

from rlsuite.ope.diagnostics import ActionCoverage, Diagnostics, effective_sample_size
from rlsuite.ope.estimators import (
    Terms,
    direct_method,
    doubly_robust,
    dros,
    ipw,
    model_values,
    replay,
    self_normalized_dr,
    snipw,
    switch_dr,
    weights,
)
from rlsuite.ope.evaluation import ESTIMATORS, Estimate, OffPolicyEvaluation, evaluate
from rlsuite.ope.files import from_frame, read, write
from rlsuite.ope.intervals import bernstein_interval, bootstrap_intervals
from rlsuite.ope.log import BanditLog
from rlsuite.ope.policies import target_of
from rlsuite.ope.recording import record
from rlsuite.ope.reward_model import MODELS, cross_fitted

__all__ = [
    "ESTIMATORS",
    "MODELS",
    "ActionCoverage",
    "BanditLog",
    "Diagnostics",
    "Estimate",
    "OffPolicyEvaluation",
    "Terms",
    "bernstein_interval",
    "bootstrap_intervals",
    "cross_fitted",
    "direct_method",
    "doubly_robust",
    "dros",
    "effective_sample_size",
    "evaluate",
    "from_frame",
    "ipw",
    "model_values",
    "read",
    "record",
    "replay",
    "self_normalized_dr",
    "snipw",
    "switch_dr",
    "target_of",
    "weights",
    "write",
]
