"""Names of what the front door brings: suites, backends, tasks of Gymnasium's environments."""

from __future__ import annotations

from registry.catalogue import Transaction


def register(registry: Transaction) -> None:
    """Registers the shipped suites, the backends and the tasks of Gymnasium's environments."""
    registry.add_suite(
        "rlsuite/quick-v0",
        "rlsuite.suites:quick",
        summary="Every family in under three minutes.",
    )
    registry.add_suite(
        "rlsuite/textbook-v0",
        "rlsuite.suites:textbook",
        summary="Tables and bandits, with exact answers.",
    )
    registry.add_suite(
        "rlsuite/classic-v0",
        "rlsuite.suites:classic",
        summary="CartPole and Acrobot with networks: about an hour.",
    )
    registry.add_backend(
        "rlsuite/serial-v0",
        "rlsuite.backends.serial:SerialBackend",
        summary="One cell after the other, in this process.",
    )
    registry.add_backend(
        "rlsuite/processes-v0",
        "rlsuite.backends.processes:ProcessesBackend",
        summary="Each cell in a fresh process, several at once, with limits of time and memory.",
    )
    registry.add_task("CartPole-v1", total_timesteps=100_000, family="control")
