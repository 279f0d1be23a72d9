"""Log, evaluate, roll out in steps, watch for drift: how a new policy goes live safely."""

import gymnasium as gym
import numpy as np

import rlsuite

ENV = "rlsuite/ContextualBandit-v0"
STEPS = (0.1, 0.3, 1.0)  # share of the decisions that the new policy makes

# 1. Log. What runs today explores a little, and writes down the probability of what it does.
log = rlsuite.ope.record("rlsuite/EpsilonGreedy-v0", ENV, 3_000, seed=0, epsilon=0.5)

# 2. Evaluate the candidate on that log, before it has made a single decision.
# It has learned elsewhere.
candidate = rlsuite.make_agent("rlsuite/LinUCB-v0", ENV, seed=0).learn(300)
found = rlsuite.ope.evaluate(
    log, candidate, deterministic=True, estimators=["ipw", "snipw"], resamples=300
)
gain = found["snipw"].gain
print(f"estimated gain {gain.estimate:+.2f}, 95 % interval [{gain.low:.2f}, {gain.high:.2f}]")
print(*found.warnings or ["no warning"], sep="\n")
if gain.low <= 0 or found.warnings:
    raise SystemExit("not sure enough: log more, or with more exploration")


class Mixed:  # the candidate for a share of the decisions, any action for the others
    def __init__(self, share):
        self.share = share

    def action_probabilities(self, observations, *, deterministic, mask=None):
        best = candidate.action_probabilities(observations, deterministic=True)
        return self.share * 0.9 * best + (1 - self.share * 0.9) / best.shape[1]


# 3. Roll out in steps; go on only while the new log agrees with the promise.
promised = found["snipw"].interval
for share in STEPS:
    live = rlsuite.ope.record(Mixed(share), gym.make(ENV), 1_000, seed=1, learn=False)
    again = rlsuite.ope.evaluate(
        live, candidate, deterministic=True, estimators=["snipw"], resamples=300
    )["snipw"].interval
    agrees = again.low <= promised.high and promised.low <= again.high
    print(
        f"share {share:.0%}: {live.reward.mean():+.2f} earned; promised {promised.estimate:.2f}, "
        f"now [{again.low:.2f}, {again.high:.2f}]",
        "" if agrees else "- stop",
    )

# 4. Watch for drift: the same policy, week after week, and one day another world.
for week, theta in enumerate((0, 0, 7)):
    live = rlsuite.ope.record(
        Mixed(1.0), gym.make(ENV, theta_seed=theta), 1_000, seed=week + 2, learn=False
    )
    half = 1.96 * live.reward.std() / np.sqrt(len(live))
    print(
        f"week {week}: {live.reward.mean():+.2f} ± {half:.2f}",
        "" if live.reward.mean() + half > 0.5 * promised.estimate else "- drift: roll back",
    )
