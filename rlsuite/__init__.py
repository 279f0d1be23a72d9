"""rlsuite: from one-armed bandits to RLHF behind one Gymnasium API, with the answer key."""

from registry.errors import (
    CheckpointError,
    DataError,
    DivergenceError,
    InvalidActionError,
    InvalidObservationError,
    OracleError,
    PluginError,
    RlsuiteError,
    SettingError,
    StoreError,
    SuiteError,
    TakenIdError,
    UnknownIdError,
    UnsupportedSpaceError,
)
from registry.logged_data import LoggedData
from registry.plugins import load_plugins as _load_plugins
from registry.specs import TaskSpec
from rlsuite import ope as ope
from rlsuite.benchmarking import (
    BenchmarkResult,
    CellFinished,
    CellProgress,
    CellStarted,
    benchmark,
)
from rlsuite.collecting import collect
from rlsuite.data.minari_sets import from_minari, to_minari
from rlsuite.evaluation import Evaluation, evaluate
from rlsuite.making import make_agent
from rlsuite.records import (
    CurvePoint,
    EpisodeRecord,
    RunKey,
    RunRecord,
    TrainingCurve,
    UpdateCurve,
)
from rlsuite.results import results_table
from rlsuite.store import Store
from rlsuite.studies.study import StudyResult, study
from rlsuite.suite import AgentChoice, Grid, Suite, load_suite
from rlsuite.until_clear import benchmark_until_clear
from rlsuite.vectors import make_vec
from rlsuite.watching.watch import TrainingWarning, watch

__all__ = [
    "AgentChoice",
    "BenchmarkResult",
    "CellFinished",
    "CellProgress",
    "CellStarted",
    "CheckpointError",
    "CurvePoint",
    "DataError",
    "DivergenceError",
    "EpisodeRecord",
    "Evaluation",
    "Grid",
    "InvalidActionError",
    "InvalidObservationError",
    "LoggedData",
    "OracleError",
    "PluginError",
    "RlsuiteError",
    "RunKey",
    "RunRecord",
    "SettingError",
    "Store",
    "StoreError",
    "StudyResult",
    "Suite",
    "SuiteError",
    "TakenIdError",
    "TaskSpec",
    "TrainingCurve",
    "TrainingWarning",
    "UnknownIdError",
    "UnsupportedSpaceError",
    "UpdateCurve",
    "benchmark",
    "benchmark_until_clear",
    "collect",
    "evaluate",
    "from_minari",
    "load_suite",
    "make_agent",
    "make_vec",
    "results_table",
    "study",
    "to_minari",
    "watch",
]

_load_plugins()  # last: a plugin may import rlsuite
