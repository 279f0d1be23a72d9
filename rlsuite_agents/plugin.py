"""Names of the built-in agents. Imports nothing heavy: entry points are strings."""

from __future__ import annotations

from registry.catalogue import Transaction
from registry.specs import Spaces

OURS = frozenset({"resume", "exact_budget", "own_rng", "split_learn"})
ACTOR_CRITIC = Spaces(action=("Discrete", "Box"))
TEXTS = Spaces(observation=("Dict",), action=("Discrete",))
TABLES = Spaces(observation=("Discrete",), action=("Discrete",))


def register(registry: Transaction) -> None:
    """Registers every built-in agent."""
    registry.add_agent(
        "rlsuite/Random-v0",
        "rlsuite_agents.random:Random",
        summary="Uniform over the allowed actions: the baseline.",
        learns="nothing",
        promises=OURS,
    )
    _planning(registry)
    _prediction(registry)
    _tabular(registry)
    _from_data(registry)
    _bandits(registry)
    _contextual_bandits(registry)
    _deep(registry)
    _alignment(registry)
    _texts(registry)
    _baselines(registry)


def _planning(registry: Transaction) -> None:
    for name, module, summary in (
        ("PolicyEvaluation", "policy_evaluation", "Values of a given policy (Sutton & Barto 4.1)."),
        ("PolicyIteration", "policy_iteration", "Evaluate, improve, repeat (Sutton & Barto 4.3)."),
        ("ValueIteration", "value_iteration", "The optimum by sweeps (Sutton & Barto 4.4)."),
        ("SoftValueIteration", "soft_value_iteration", "Control as inference (Levine 2018)."),
    ):
        registry.add_agent(
            f"rlsuite/{name}-v0",
            f"rlsuite_agents.planning.{module}:{name}",
            summary=summary,
            budget_unit="sweeps",
            requires={"model"},
            learns="prediction" if name == "PolicyEvaluation" else "values",
            spaces=TABLES,
            promises=OURS,
        )


def _prediction(registry: Transaction) -> None:
    for name, module, summary in (
        (
            "MonteCarloPrediction",
            "monte_carlo_prediction",
            "Values as means of returns, first-visit or every-visit (Sutton & Barto 5.1).",
        ),
        ("TD0", "td_zero", "Values from one step to the next (Sutton & Barto 6.1)."),
        ("NStepTD", "n_step_td", "Values from n steps at a time (Sutton & Barto 7.1)."),
        ("TDLambda", "td_lambda", "Values with eligibility traces (Sutton & Barto 12.2, 12.5)."),
    ):
        registry.add_agent(
            f"rlsuite/{name}-v0",
            f"rlsuite_agents.tabular.{module}:{name}",
            summary=summary,
            learns="prediction",
            spaces=TABLES,
            promises=OURS,
        )


def _tabular(registry: Transaction) -> None:
    registry.add_agent(
        "rlsuite/QLearning-v0",
        "rlsuite_agents.tabular.q_learning:QLearning",
        summary="Off-policy TD control (Sutton & Barto 6.5).",
        spaces=TABLES,
        promises=OURS,
    )
    registry.add_agent(
        "rlsuite/Sarsa-v0",
        "rlsuite_agents.tabular.sarsa:Sarsa",
        summary="On-policy TD control (Sutton & Barto 6.4).",
        spaces=TABLES,
        promises=OURS,
    )
    registry.add_agent(
        "rlsuite/ExpectedSarsa-v0",
        "rlsuite_agents.tabular.expected_sarsa:ExpectedSarsa",
        summary="TD control by the mean over the next action (Sutton & Barto 6.6).",
        spaces=TABLES,
        promises=OURS,
    )
    registry.add_agent(
        "rlsuite/DoubleQLearning-v0",
        "rlsuite_agents.tabular.double_q_learning:DoubleQLearning",
        summary="Off-policy TD control without maximisation bias (Sutton & Barto 6.7).",
        spaces=TABLES,
        promises=OURS,
    )
    for name, module, summary in (
        (
            "MonteCarloControl",
            "monte_carlo_control",
            "On-policy control by returns, first-visit or every-visit (Sutton & Barto 5.4).",
        ),
        (
            "OffPolicyMonteCarlo",
            "off_policy_monte_carlo",
            "Off-policy control by weighted importance sampling (Sutton & Barto 5.7).",
        ),
        ("NStepSarsa", "n_step_sarsa", "Sarsa, n rewards at a time (Sutton & Barto 7.2)."),
        (
            "NStepTreeBackup",
            "n_step_tree_backup",
            "n steps off policy without importance sampling (Sutton & Barto 7.5).",
        ),
        ("SarsaLambda", "sarsa_lambda", "Sarsa with eligibility traces (Sutton & Barto 12.7)."),
        (
            "WatkinsQLambda",
            "watkins_q_lambda",
            "Q-learning with eligibility traces (Sutton & Barto 12.10).",
        ),
        ("DynaQ", "dyna_q", "Q-learning, and more of it on remembered steps (Sutton & Barto 8.2)."),
        ("DynaQPlus", "dyna_q_plus", "Dyna-Q that suspects change (Sutton & Barto 8.3)."),
        (
            "PrioritizedSweeping",
            "prioritized_sweeping",
            "Planning by counts, the largest errors first (Sutton & Barto 8.4).",
        ),
        (
            "PosteriorSampling",
            "posterior_sampling",
            "Plays what is optimal in a world drawn from its beliefs (Osband et al. 2013).",
        ),
    ):
        registry.add_agent(
            f"rlsuite/{name}-v0",
            f"rlsuite_agents.tabular.{module}:{name}",
            summary=summary,
            spaces=TABLES,
            promises=OURS,
        )


def _from_data(registry: Transaction) -> None:
    registry.add_agent(
        "rlsuite/OfflineQLearning-v0",
        "rlsuite_agents.tabular.offline_q_learning:OfflineQLearning",
        summary="Fitted Q iteration on logged data, with care (Ernst et al. 2005).",
        budget_unit="sweeps",
        requires={"data"},
        spaces=TABLES,
        promises=OURS,
    )
    registry.add_agent(
        "rlsuite/BehaviourCloning-v0",
        "rlsuite_agents.tabular.behaviour_cloning:BehaviourCloning",
        summary="Imitates the policy that made the data (Pomerleau 1989).",
        budget_unit="examples",
        requires={"data"},
        learns="nothing",
        spaces=TABLES,
        promises=OURS,
    )


def _bandits(registry: Transaction) -> None:
    for name, module, summary in (
        ("EpsilonGreedy", "epsilon_greedy", "The best sample mean, and random arms (S&B 2.2)."),
        ("Softmax", "softmax", "Arms in proportion to e^(mean / temperature) (S&B 1998, 2.3)."),
        ("UCB1", "ucb1", "The largest upper confidence bound (Auer et al. 2002)."),
        ("UCBTuned", "ucb_tuned", "UCB that estimates variances (Auer et al. 2002, section 4)."),
        ("KLUCB", "klucb", "Confidence bounds by divergence (Garivier & Cappé 2011)."),
        ("KLUCBPlus", "klucb_plus", "KL-UCB with ln(t / n) for ln t (Garivier & Cappé 2011)."),
        ("MOSS", "moss", "Minimax optimal, with or without horizon (Audibert & Bubeck 2009)."),
        ("IMED", "imed", "Indexed minimum empirical divergence (Honda & Takemura 2015)."),
        ("BayesUCB", "bayes_ucb", "The largest posterior quantile (Kaufmann et al. 2012)."),
        ("ThompsonSampling", "thompson_sampling", "Beta probability matching (Thompson 1933)."),
        (
            "GaussianThompsonSampling",
            "gaussian_thompson_sampling",
            "Thompson sampling of normal arms, known noise (Russo et al. 2018).",
        ),
        (
            "NIGThompsonSampling",
            "nig_thompson_sampling",
            "Thompson sampling of normal arms, unknown noise (normal-inverse-gamma).",
        ),
        ("GradientBandit", "gradient_bandit", "REINFORCE on one logit an arm (S&B 2.8)."),
        ("Exp3", "exp3", "Exponential weights against an adversary (Auer et al. 2002b)."),
        ("Exp3IX", "exp3ix", "Exponential weights, implicit exploration (Neu 2015)."),
        (
            "SlidingWindowUCB",
            "sliding_window_ucb",
            "UCB on the latest pulls, for arms that change (Garivier & Moulines 2011).",
        ),
        (
            "DiscountedUCB",
            "discounted_ucb",
            "UCB that forgets, for arms that change (Garivier & Moulines 2011).",
        ),
        (
            "DiscountedThompsonSampling",
            "discounted_thompson_sampling",
            "Thompson sampling that forgets (Raj & Kalyani 2017).",
        ),
    ):
        registry.add_agent(
            f"rlsuite/{name}-v0",
            f"rlsuite_agents.bandits.{module}:{name}",
            summary=summary,
            learns="bandit",
            promises=OURS,
        )


def _contextual_bandits(registry: Transaction) -> None:
    for name, module, summary in (
        ("LinUCB", "linucb", "Linear payoffs with confidence widths (Li et al. 2010)."),
        ("LinTS", "lints", "Linear payoffs, Thompson sampling (Agrawal & Goyal 2013)."),
        ("LogisticTS", "logisticts", "Payoffs of 0 and 1, Thompson sampling (Chapelle & Li 2011)."),
        ("SquareCB", "squarecb", "Inverse gap weighting of a regression (Foster & Rakhlin 2020)."),
        ("NeuralEpsilonGreedy", "neural_epsilon_greedy", "A network's expected rewards, ε-greedy."),
        (
            "NeuralLinear",
            "neural_linear",
            "Linear beliefs on learned features (Riquelme et al. 2018).",
        ),
    ):
        neural = name.startswith("Neural")
        registry.add_agent(
            f"rlsuite/{name}-v0",
            f"rlsuite_agents.bandits.{module}:{name}",
            summary=summary,
            check_settings={"net_arch": (16,), "batch_size": 32} if neural else {},
            learns="bandit",
            spaces=Spaces(observation=("Box",), action=("Discrete",)),
            promises=OURS,
        )


def _deep(registry: Transaction) -> None:
    for name, module, summary in (
        ("Reinforce", "reinforce", "Monte-Carlo policy gradient (Sutton & Barto 13.3, 13.4)."),
        ("ActorCritic", "actor_critic", "Actor-critic, one-step or traces (Sutton & Barto 13.5)."),
        ("PPO", "ppo", "Proximal policy optimisation, clipped (Schulman et al. 2017)."),
        ("A2C", "a2c", "Advantage actor-critic in lockstep (Mnih et al. 2016)."),
    ):
        registry.add_agent(
            f"rlsuite/{name}-v0",
            f"rlsuite_agents.deep.{module}:{name}",
            summary=summary,
            vectorized=True,
            learns="policy",
            spaces=ACTOR_CRITIC,
            promises=OURS,
        )
    registry.add_agent(
        "rlsuite/DQN-v0",
        "rlsuite_agents.deep.dqn:DQN",
        summary="Deep Q-learning; double, dueling, prioritised, n-step (Mnih et al. 2015).",
        vectorized=True,
        spaces=Spaces(action=("Discrete",)),
        promises=OURS,
    )
    registry.add_agent(
        "rlsuite/SAC-v0",
        "rlsuite_agents.deep.sac:SAC",
        summary="Soft actor-critic, for continuous and discrete actions (Haarnoja et al. 2018).",
        check_settings={"batch_size": 32, "net_arch": (32, 32)},
        vectorized=True,
        spaces=ACTOR_CRITIC,
        promises=OURS,
    )


def _texts(registry: Transaction) -> None:
    registry.add_reference_model(
        "rlsuite/TextModel-v0",
        "rlsuite_agents.parts.text_models:load_text_model",
        summary="A policy over texts that was saved as a folder.",
    )
    registry.add_reward_model(
        "rlsuite/TextReward-v0",
        "rlsuite_agents.parts.text_models:load_text_reward",
        summary="A learned reward model that was saved as a folder.",
    )


def _alignment(registry: Transaction) -> None:
    for name, module, summary in (
        ("RLOO", "rloo", "REINFORCE leave-one-out on texts (Ahmadian et al. 2024)."),
        ("GRPO", "grpo", "Groups of texts, as DeepSeekMath, Dr. GRPO, DAPO, GSPO or exactly."),
        ("GDPO", "gdpo", "Groups of texts with several rewards (Liu et al. 2026)."),
        ("RLHFPPO", "rlhf_ppo", "PPO with a value head and KL in the reward (Ouyang et al. 2022)."),
        ("BestOfN", "best_of_n", "Imitates the best of n texts (Stiennon et al. 2020)."),
        ("DPO", "dpo", "Learns from pairs of texts, without sampling (Rafailov et al. 2023)."),
        ("SFT", "sft", "Maximum likelihood of given texts (Ouyang et al. 2022)."),
        (
            "RewardModelTrainer",
            "reward_model_trainer",
            "A reward from pairs of texts (Stiennon et al. 2020).",
        ),
    ):
        registry.add_agent(
            f"rlsuite/{name}-v0",
            f"rlsuite_agents.alignment.{module}:{name}",
            summary=summary,
            budget_unit="examples" if name in ("DPO", "SFT", "RewardModelTrainer") else "steps",
            requires={"texts"},
            learns="nothing" if name == "RewardModelTrainer" else "policy",
            spaces=TEXTS,
            promises=OURS,
        )


def _baselines(registry: Transaction) -> None:
    own_generators = frozenset({"exact_budget", "own_rng"})
    for name, vectorized, learns, actions in (
        ("PPO", True, "policy", ("Discrete", "Box")),
        ("A2C", True, "policy", ("Discrete", "Box")),
        ("DQN", False, "values", ("Discrete",)),
        ("SAC", False, "policy", ("Box",)),
    ):
        registry.add_agent(
            f"sb3/{name}-v0",
            f"rlsuite_agents.baselines.sb3:{name}",
            summary=f"Stable-Baselines3's {name} behind our contract.",
            vectorized=vectorized,
            learns=learns,
            spaces=Spaces(action=actions),
            promises=own_generators,
        )
