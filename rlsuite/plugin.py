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
        "rlsuite/bandits-v0",
        "rlsuite.suites:bandits",
        summary="Bandit policies by their regret while they learn.",
    )
    registry.add_suite(
        "rlsuite/classic-v0",
        "rlsuite.suites:classic",
        summary="Classic control with networks, beside Stable-Baselines3: an hour of one core.",
    )
    registry.add_suite(
        "rlsuite/classic-sb3-v0",
        "rlsuite.suites:classic_sb3",
        summary="Stable-Baselines3 on the tasks of classic: three hours of one core.",
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
    for task, steps in (
        ("CartPole-v1", 100_000),
        ("Acrobot-v1", 100_000),
        ("MountainCar-v0", 120_000),
        ("Pendulum-v1", 20_000),
        ("LunarLander-v3", 1_000_000),
    ):
        registry.add_task(task, total_timesteps=steps, family="control")
