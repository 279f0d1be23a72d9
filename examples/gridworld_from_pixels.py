"""From 84 x 84 pixels to the shortest path: DQN, or PPO if the command line says so.

Takes the name of the agent from the command line, and how many steps it has. The score is exact:
the frames of all cells go through the network once, and the answer key prices the policy.
"""

import sys

import gymnasium as gym

import rlsuite

SETTINGS = {
    "DQN": {
        "buffer_size": 3_200,
        "learning_starts": 400,
        "learning_rate": "lin_5e-4",
        "total_timesteps": 3_200,
        "target_update_interval": 200,
        "exploration_steps": 2_000,
        "n_steps": 3,
        "double": True,
        "gamma": 0.95,
    },
    "PPO": {
        "num_envs": 8,
        "n_steps": 64,
        "batch_size": 64,
        "n_epochs": 4,
        "learning_rate": "lin_1e-3",
        "total_timesteps": 8_192,
        "ent_coef": 0.05,
        "gamma": 0.95,
    },
}
STEPS = {"DQN": 3_200, "PPO": 8_192}
name = sys.argv[1] if len(sys.argv) > 1 else "DQN"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS[name]

GRID = {"id": "rlsuite/GridWorld-v0", "observation": "pixels"}
n = SETTINGS[name].get("num_envs", 1)
envs = gym.make_vec(num_envs=n, vectorization_mode="sync", **GRID)
env = gym.make(**GRID)  # to be scored in
print(name, "learns from", env.observation_space)
agent = rlsuite.make_agent(f"rlsuite/{name}-v0", envs, seed=0, **SETTINGS[name])
while agent.num_timesteps < steps:
    agent.learn(min(steps - agent.num_timesteps, STEPS[name] // 8))
    found = rlsuite.evaluate(agent, env)
    print(f"{agent.num_timesteps:6} steps: greedy score {found.score:6.3f} ({found.method})")
