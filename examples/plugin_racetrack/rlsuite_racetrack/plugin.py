"""What this package brings to rlsuite: names only, so nothing is imported before it is used."""

from __future__ import annotations

from registry.catalogue import Transaction
from registry.specs import Spaces


def register(registry: Transaction) -> None:
    """Called by `import rlsuite`. All of it is registered, or (if anything raises) nothing."""
    registry.add_env(
        "racetrack/Racetrack-v0",
        "rlsuite_racetrack.env:Racetrack",
        max_episode_steps=200,
        summary="Sutton & Barto's Exercise 5.12: as fast as possible around the corner.",
    )
    # A task says how agents are compared: the environment, its keywords, the budget, the table.
    registry.add_task("racetrack/Racetrack-v0", total_timesteps=1_000_000, family="racetrack")
    registry.add_task(
        "racetrack/SmallTrack-v0",
        env_id="racetrack/Racetrack-v0",
        env_kwargs={"track": "small"},
        total_timesteps=100_000,
        family="racetrack",
    )
    registry.add_agent(
        "racetrack/MonteCarlo-v0",
        "rlsuite_racetrack.agent:MonteCarlo",
        summary="On-policy Monte-Carlo control (Sutton & Barto 5.4).",
        spaces=Spaces(observation=("Discrete",), action=("Discrete",)),
        promises={"resume", "exact_budget", "own_rng", "split_learn"},
    )
