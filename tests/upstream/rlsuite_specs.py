"""A pytest plugin that points Gymnasium's own environment tests at the ids of rlsuite.

Gymnasium's suite parametrises over two lists in `tests/envs/utils.py`. They are filled anew, in
place, before the tests are collected; the tests themselves run unmodified. Used by
`tests/test_environments.py` as `pytest -p rlsuite_specs`, with this folder on `PYTHONPATH` and the
checkout in `GYMNASIUM_SOURCE`.
"""

from __future__ import annotations

import importlib
import os
import sys

import gymnasium as gym  # the installed one: imported before the checkout is on the path
import pytest

import rlsuite  # noqa: F401  registers the ids
from registry.catalogue import registry


def pytest_sessionstart(session: pytest.Session) -> None:
    sys.path.insert(0, os.environ["GYMNASIUM_SOURCE"])
    utils = importlib.import_module("tests.envs.utils")
    ours = [e.id for e in registry.entries("env") if e.provenance.distribution == "rlsuite"]
    specs = [gym.spec(identifier) for identifier in ours]
    envs = [spec.make(disable_env_checker=True).unwrapped for spec in specs]
    utils.all_testing_env_specs[:] = specs
    utils.all_testing_initialised_envs[:] = envs
