"""Your class beside ours and Stable-Baselines3's, in one table. Nothing needs to be registered."""

import numpy as np

import rlsuite


class MyAgent:
    """Q-learning in twenty lines: what a benchmark needs is `learn` and `predict`."""

    def __init__(self, env, seed):
        self.env, self.rng = env, np.random.default_rng(seed)
        self.q = np.zeros((env.observation_space.n, env.action_space.n))

    def learn(self, total_timesteps, callback=None):
        state, _ = self.env.reset(seed=int(self.rng.integers(2**31)))
        for _ in range(total_timesteps):
            explore = self.rng.random() < 0.1
            action = int(self.rng.integers(4)) if explore else int(self.q[state].argmax())
            after, reward, terminated, truncated, _ = self.env.step(action)
            target = reward + (0.0 if terminated else self.q[after].max())
            self.q[state, action] += 0.5 * (target - self.q[state, action])
            state = self.env.reset()[0] if terminated or truncated else after
        return self

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return self.q[observation].argmax(axis=-1), state


if __name__ == "__main__":
    result = rlsuite.benchmark(
        agents={"mine": MyAgent, "q": "rlsuite/QLearning-v0", "dqn": "sb3/DQN-v0"},
        tasks=["rlsuite/CliffWalk-v0"],
        seeds=3,
        total_timesteps=5_000,
    )
    print(result)
    print("report:", result.report("my_agent.html"))
