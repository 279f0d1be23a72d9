"""Names of the built-in environments. Imports nothing heavy: entry points are strings."""

from __future__ import annotations

from registry.catalogue import Transaction


def register(registry: Transaction) -> None:
    """Registers every built-in environment and its task."""
    _tabular(registry)
    _bandits(registry)
    _tokens(registry)
    _control(registry)


def _tabular(registry: Transaction) -> None:
    """Finite Markov decision processes."""
    registry.add_env(
        "rlsuite/GridWorld-v0",
        "rlsuite_envs.tabular.grid_world:GridWorld",
        vector_entry_point="rlsuite_envs.vector.tabular:grid_world",
        max_episode_steps=100,
        summary="A 5x5 grid with obstacles; +1 at the goal.",
    )
    registry.add_task("rlsuite/GridWorld-v0", total_timesteps=20_000, family="tabular")
    registry.add_env(
        "rlsuite/CliffWalk-v0",
        "rlsuite_envs.tabular.cliff_walk:CliffWalk",
        vector_entry_point="rlsuite_envs.vector.tabular:cliff_walk",
        max_episode_steps=200,
        summary="Sutton & Barto's Example 6.6: the shortest path runs along a cliff.",
    )
    registry.add_task("rlsuite/CliffWalk-v0", total_timesteps=20_000, family="tabular")
    registry.add_env(
        "rlsuite/WindyGrid-v0",
        "rlsuite_envs.tabular.windy_grid:WindyGrid",
        vector_entry_point="rlsuite_envs.vector.tabular:windy_grid",
        max_episode_steps=200,
        summary="Sutton & Barto's Example 6.5: a crosswind blows towards the upper edge.",
    )
    registry.add_task("rlsuite/WindyGrid-v0", total_timesteps=50_000, family="tabular")
    registry.add_env(
        "rlsuite/Garnet-v0",
        "rlsuite_envs.tabular.garnet:Garnet",
        vector_entry_point="rlsuite_envs.vector.tabular:garnet",
        max_episode_steps=1000,
        summary="A random MDP of 20 states, drawn from a seed.",
    )
    registry.add_task("rlsuite/Garnet-v0", total_timesteps=100_000, family="tabular")
    registry.add_env(
        "rlsuite/DeepSea-v0",
        "rlsuite_envs.tabular.deep_sea:DeepSea",
        vector_entry_point="rlsuite_envs.vector.tabular:deep_sea",
        summary="A dive of ten rows; only ten steps to the right in a row find the treasure.",
    )
    registry.add_task("rlsuite/DeepSea-v0", total_timesteps=50_000, family="exploration")
    registry.add_env(
        "rlsuite/RandomWalk-v0",
        "rlsuite_envs.tabular.random_walk:RandomWalk",
        vector_entry_point="rlsuite_envs.vector.tabular:random_walk",
        max_episode_steps=1000,
        summary="Sutton & Barto's Example 7.1: predict the values of 19 states in a row.",
    )
    registry.add_task(
        "rlsuite/RandomWalk-v0",
        total_timesteps=20_000,
        metric="value_error",
        family="prediction",
    )
    registry.add_env(
        "rlsuite/DynaMaze-v0",
        "rlsuite_envs.tabular.dyna_maze:DynaMaze",
        vector_entry_point="rlsuite_envs.vector.mazes:dyna_maze",
        max_episode_steps=1000,
        summary="Sutton & Barto's Figure 8.2: a maze for planning, and two that change.",
    )
    registry.add_task("rlsuite/DynaMaze-v0", total_timesteps=20_000, family="tabular")
    for variant, steps in (("blocking", 3000), ("shortcut", 6000)):
        registry.add_task(
            f"rlsuite/{variant.capitalize()}Maze-v0",
            env_id="rlsuite/DynaMaze-v0",
            env_kwargs={"variant": variant},
            total_timesteps=steps,
            metric="learning_regret",
            family="changing mazes",
        )
    registry.add_env(
        "rlsuite/GoalGrid-v0",
        "rlsuite_envs.tabular.goal_grid:GoalGrid",
        vector_entry_point="rlsuite_envs.vector.tabular:goal_grid",
        max_episode_steps=50,
        summary="A 5x5 grid with another goal in each episode; -1 for each step but the last.",
    )
    registry.add_task("rlsuite/GoalGrid-v0", total_timesteps=200_000, family="tabular")
    registry.add_oracle(
        "gymnasium/ToyText-v0",
        "rlsuite_envs.tabular.toy_text:toy_text_oracle",
        summary="Exact returns for FrozenLake, CliffWalking and Taxi.",
    )
    registry.add_model(
        "gymnasium/ToyText-v0",
        "rlsuite_envs.tabular.toy_text:toy_text_table",
        summary="Compiled loops for FrozenLake, CliffWalking and Taxi.",
    )
    for identifier in ("FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"):
        registry.add_task(identifier, total_timesteps=50_000, family="tabular")


def _bandits(registry: Transaction) -> None:
    """Bandits of a fixed horizon, which they keep themselves, scored by the regret of learning."""
    registry.add_env(
        "rlsuite/BernoulliBandit-v0",
        "rlsuite_envs.bandits.bernoulli:BernoulliBandit",
        vector_entry_point="rlsuite_envs.vector.bandits:bernoulli_bandit",
        summary="Five arms that pay 0 or 1.",
    )
    registry.add_task(
        "rlsuite/BernoulliBandit-v0",
        total_timesteps=500,
        metric="learning_regret",
        deterministic=False,
        family="bandit",
    )
    registry.add_env(
        "rlsuite/ContextualBandit-v0",
        "rlsuite_envs.bandits.contextual:ContextualBandit",
        vector_entry_point="rlsuite_envs.vector.bandits:contextual_bandit",
        summary="Five arms whose linear payoff depends on ten binary features.",
    )
    registry.add_task(
        "rlsuite/ContextualBandit-v0",
        total_timesteps=1000,
        metric="learning_regret",
        deterministic=False,
        family="contextual bandit",
    )
    for name, steps, family, summary in (
        ("Gaussian", 1000, "bandit", "The 10-armed testbed of Sutton & Barto: normal rewards."),
        ("Adversarial", 1000, "bandit", "Five arms whose rewards an adversary wrote down before."),
        ("Drifting", 1000, "bandit", "Five arms that pay 0 or 1, and change places half-way."),
        (
            "Wheel",
            1000,
            "contextual bandit",
            "A point of a disc; far out, one of five arms pays 50.",
        ),
        ("Classification", 1000, "contextual bandit", "Handwritten digits: name what you see."),
    ):
        registry.add_env(
            f"rlsuite/{name}Bandit-v0",
            f"rlsuite_envs.bandits.{name.lower()}:{name}Bandit",
            vector_entry_point=f"rlsuite_envs.vector.bandits:{name.lower()}_bandit",
            summary=summary,
        )
        registry.add_task(
            f"rlsuite/{name}Bandit-v0",
            total_timesteps=steps,
            metric="learning_regret",
            deterministic=False,
            family=family,
        )


def _tokens(registry: Transaction) -> None:
    """Text, token by token, scored by the KL-regularised objective."""
    registry.add_env(
        "rlsuite/TokenGeneration-v0",
        "rlsuite_envs.tokens.token_generation:TokenGeneration",
        vector_entry_point="rlsuite_envs.vector.tokens:token_generation",
        summary="Letters until EOS, scored by a reward model; objective E[r] - beta KL(pi || ref).",
    )
    registry.add_task(
        "rlsuite/TokenGeneration-v0",
        total_timesteps=50_000,
        metric="objective",
        deterministic=False,
        family="token generation",
    )
    registry.add_env(
        "rlsuite/TwoVerifiers-v0",
        "rlsuite_envs.tokens.token_generation:TokenGeneration",
        vector_entry_point="rlsuite_envs.vector.tokens:token_generation",
        kwargs={
            "reward": ["rlsuite/FormatVerifier-v0", "rlsuite/ContinuationVerifier-v0"],
            "no_eos": 0.0,
        },
        summary="Letters scored by two programs of different scale, an easy and a hard one.",
    )
    registry.add_task(
        "rlsuite/TwoVerifiers-v0",
        total_timesteps=50_000,
        metric="objective",
        deterministic=False,
        family="token generation",
    )
    registry.add_reward_model(
        "rlsuite/GoldReward-v0",
        "rlsuite_envs.tokens.reward_models:gold_reward",
        summary="The true reward of the token task, a closed form.",
    )
    registry.add_reward_model(
        "rlsuite/LearnedReward-v0",
        "rlsuite_envs.tokens.learned:learned_reward",
        summary="A Bradley-Terry model fitted to preferences sampled from the gold reward.",
    )
    for name, factory, of in (
        ("Linear", "linear_reward", "of letters by position alone"),
        ("MLP", "mlp_reward", "by a small network"),
        ("Tabular", "tabular_reward", "with a number per text"),
    ):
        registry.add_reward_model(
            f"rlsuite/{name}Reward-v0",
            f"rlsuite_envs.tokens.learned:{factory}",
            summary=f"The same {of}.",
        )
    registry.add_reward_model(
        "rlsuite/FormatVerifier-v0",
        "rlsuite_envs.tokens.verifiers:format_verifier",
        summary="1 for an answer of three letters, else 0.",
    )
    registry.add_reward_model(
        "rlsuite/ContinuationVerifier-v0",
        "rlsuite_envs.tokens.verifiers:continuation_verifier",
        summary="-3 to 3: how many of three letters go on with the alphabet.",
    )
    registry.add_reference_model(
        "rlsuite/MarkovReference-v0",
        "rlsuite_envs.tokens.reference_models:markov_reference",
        summary="The reference policy of the token task: next letter given the last one.",
    )


def _control(registry: Transaction) -> None:
    """Continuous control of a fixed horizon, which it keeps itself."""
    registry.add_env(
        "rlsuite/LQR-v0",
        "rlsuite_envs.control.lqr:LQR",
        vector_entry_point="rlsuite_envs.vector.control:lqr",
        summary="Push a mass on a line to the middle and keep it there, at little cost.",
    )
    registry.add_task(
        "rlsuite/LQR-v0", total_timesteps=100_000, eval_episodes=100, family="continuous control"
    )
