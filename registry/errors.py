"""The family of errors. A message says what is wrong, what was given, what would be right.

    RlsuiteError
    ├── UnknownIdError            (LookupError)   no such environment, agent, task, ...
    ├── TakenIdError              (ValueError)    two distributions claim one id
    ├── PluginError               (ValueError)    a plugin registers something malformed
    ├── SettingError              (ValueError)    a keyword or its value is wrong
    ├── UnsupportedSpaceError     (TypeError)     an agent cannot act in this kind of space
    ├── InvalidActionError        (ValueError)    an action outside the action space
    ├── InvalidObservationError   (ValueError)    NaN, infinity or a wrong shape
    ├── DivergenceError           (ArithmeticError) training has led to NaN or infinity
    ├── OracleError               (ValueError)    the answer key cannot answer this question
    ├── CheckpointError           (OSError)       a checkpoint cannot be read, or is not its agent's
    ├── DataError                 (ValueError)    logged data that cannot be used
    ├── StoreError                (OSError)       the result store cannot be opened, read, written
    └── SuiteError                (ValueError)    a suite file that cannot be used

The command line turns each of them into one line and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "InvalidActionError",
    "InvalidObservationError",
    "OracleError",
    "PluginError",
    "RlsuiteError",
    "SettingError",
    "StoreError",
    "SuiteError",
    "TakenIdError",
    "UnknownIdError",
    "UnsupportedSpaceError",
    "did_you_mean",
]


class RlsuiteError(Exception):
    """Anything rlsuite refuses, with a sentence."""


class UnknownIdError(RlsuiteError, LookupError):
    """Nothing is registered under this id."""


class TakenIdError(RlsuiteError, ValueError):
    """The id belongs to somebody else; the message names both distributions."""


class PluginError(RlsuiteError, ValueError):
    """A registration that is malformed: its kind, its id, its entry point or its metadata."""


class SettingError(RlsuiteError, ValueError):
    """A setting is unknown or outside its range."""


class UnsupportedSpaceError(RlsuiteError, TypeError):
    """An agent was given an environment whose spaces it cannot handle."""


class InvalidActionError(RlsuiteError, ValueError):
    """An action outside the action space."""


class InvalidObservationError(RlsuiteError, ValueError):
    """An observation that is not finite or not of the declared shape."""


class DivergenceError(RlsuiteError, ArithmeticError):
    """Training has led to NaN or infinity; it stops before they reach the weights."""


class OracleError(RlsuiteError, ValueError):
    """The oracle cannot answer: the policy has the wrong shape, or the task has no exact answer."""


class CheckpointError(RlsuiteError, OSError):
    """A checkpoint is missing, damaged or belongs to something else."""


class DataError(RlsuiteError, ValueError):
    """Logged data are missing, malformed, or of other spaces than the environment's."""


class StoreError(RlsuiteError, OSError):
    """The result store cannot be opened, read or written. What was stored before is untouched."""


class SuiteError(RlsuiteError, ValueError):
    """A suite that cannot be used: malformed TOML, an unknown key, an empty grid."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a hint, `" Did you mean 'x'?"`, or an empty string.

    Case is ignored, and so are a missing namespace and a missing version.
    """
    by_folded: dict[str, str] = {}
    for candidate in sorted(known, reverse=True):
        bare = candidate.rpartition("/")[2]
        for form in (candidate, bare, bare.rpartition("-v")[0]):
            if form:
                by_folded[form.casefold()] = candidate
    near = difflib.get_close_matches(name.casefold(), sorted(by_folded), n=1, cutoff=0.6)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""
