"""Makes the pictures of docs/gallery.md, and the page itself: `make gallery`.

Every picture is the output of one command of `rlsuite`, and the page shows that command below it.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from rlsuite.cli.main import main as rlsuite

CONTINUED = " \\"
DOCS = Path(__file__).resolve().parent

INTRODUCTION = """\
# Gallery

A picture for every environment, played by an agent that was trained for it. Below each stands the
command that made it; `make gallery` makes them all again. Colours are told apart by colour-blind
readers too, and nothing is said by colour alone.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A command of rlsuite that writes `file`, and what there is to see."""

    file: str
    title: str
    text: str
    command: str

    @property
    def words(self) -> list[str]:
        """The command as a shell splits it, without the name of the program."""
        return shlex.split(self.command)


PICTURES = (
    Picture(
        file="grid_world.gif",
        title="[GridWorld](environments/grid_world.md)",
        text="Q-learning on a slippery grid: every fifth move goes astray. The line below compares "
        "the return of the episode with the optimal one, which is exact.",
        command="play rlsuite/GridWorld-v0 --agent rlsuite/QLearning-v0 --set step_size=0.1 "
        "--env-set slip=0.2 --episodes 2 --gif grid_world.gif",
    ),
    Picture(
        file="grid_world_values.png",
        title="What it is worth to stand in each cell",
        text="The optimal values of the same grid, by backward induction over its time limit.",
        command="plot values optimal rlsuite/GridWorld-v0 --env-set slip=0.2 "
        "--out grid_world_values.png",
    ),
    Picture(
        file="cliff_walk.gif",
        title="[CliffWalk](environments/cliff_walk.md)",
        text="Q-learning takes the shortest way, along the edge.",
        command="play rlsuite/CliffWalk-v0 --agent rlsuite/QLearning-v0 --gif cliff_walk.gif",
    ),
    Picture(
        file="cliff_walk_policy.png",
        title="SARSA keeps away from the edge",
        text="SARSA learns the value of the policy that it plays, which steps aside once in a "
        "while; its greedy policy takes the safe way (Sutton & Barto, Example 6.6).",
        command="plot policy rlsuite/Sarsa-v0 rlsuite/CliffWalk-v0 --steps 200000 "
        "--set step_size=0.1 --out cliff_walk_policy.png",
    ),
    Picture(
        file="cliff_walk_visits.png",
        title="Where SARSA goes",
        text="Expected visits of an episode, exploration included. They are computed from the "
        "model, not counted; the goal's is the probability of getting there within the limit.",
        command="plot visits rlsuite/Sarsa-v0 rlsuite/CliffWalk-v0 --steps 200000 "
        "--set step_size=0.1 --sampled --out cliff_walk_visits.png",
    ),
    Picture(
        file="windy_grid.gif",
        title="[WindyGrid](environments/windy_grid.md)",
        text="Q-learning in a wind that blows upwards; each chevron carries one cell. The shortest "
        "way goes round by the right border.",
        command="play rlsuite/WindyGrid-v0 --agent rlsuite/QLearning-v0 --set step_size=0.5 "
        "--gif windy_grid.gif",
    ),
    Picture(
        file="windy_grid_policy.png",
        title="With king's moves",
        text="The optimal policy with eight moves, which needs seven steps.",
        command="plot policy optimal rlsuite/WindyGrid-v0 --env-set king_moves=true "
        "--out windy_grid_policy.png",
    ),
    Picture(
        file="dyna_maze.gif",
        title="[DynaMaze](environments/dyna_maze.md)",
        text="Q-learning in the maze of Sutton & Barto's Figure 8.2, where the only reward lies at "
        "the end.",
        command="play rlsuite/DynaMaze-v0 --agent rlsuite/QLearning-v0 --set gamma=0.95 "
        "--gif dyna_maze.gif",
    ),
    Picture(
        file="goal_grid.gif",
        title="[GoalGrid](environments/goal_grid.md)",
        text="Q-learning walks to the goal of each episode; what it observes is the pair of cell "
        "and goal.",
        command="play rlsuite/GoalGrid-v0 --agent rlsuite/QLearning-v0 --set step_size=0.5 "
        "--episodes 4 --gif goal_grid.gif",
    ),
    Picture(
        file="random_walk.gif",
        title="[RandomWalk](environments/random_walk.md)",
        text="Nothing to decide: the task is to predict the value of each state.",
        command="play rlsuite/RandomWalk-v0 --agent rlsuite/Random-v0 --seed 4 "
        "--gif random_walk.gif",
    ),
    Picture(
        file="deep_sea.gif",
        title="[DeepSea](environments/deep_sea.md)",
        text="Q-learning that explores by chance has learned to go left, where steps cost nothing, "
        "and has never seen the treasure.",
        command="play rlsuite/DeepSea-v0 --agent rlsuite/QLearning-v0 --gif deep_sea.gif",
    ),
    Picture(
        file="garnet.gif",
        title="[Garnet](environments/garnet.md)",
        text="Q-learning on a random MDP, whose states are no places: numbered tiles.",
        command="play rlsuite/Garnet-v0 --agent rlsuite/QLearning-v0 --seed 1 --gif garnet.gif",
    ),
    Picture(
        file="bernoulli_bandit.gif",
        title="[BernoulliBandit](environments/bernoulli_bandit.md)",
        text="Thompson sampling while it learns: means of what the arms have paid, their 95% "
        "intervals, how often each was pulled, and the regret so far.",
        command="play rlsuite/BernoulliBandit-v0 --agent rlsuite/ThompsonSampling-v0 --steps 14 "
        "--fps 5 --gif bernoulli_bandit.gif",
    ),
    Picture(
        file="contextual_bandit.gif",
        title="[ContextualBandit](environments/contextual_bandit.md)",
        text="LinUCB: squares are the ten features of the context, filled where they are +1. Which "
        "arm is best depends on them, so no arm's mean stands out.",
        command="play rlsuite/ContextualBandit-v0 --agent rlsuite/LinUCB-v0 --steps 14 --fps 5 "
        "--gif contextual_bandit.gif",
    ),
    Picture(
        file="gaussian_bandit.gif",
        title="[GaussianBandit](environments/gaussian_bandit.md)",
        text="UCB1 on ten arms whose means are drawn at each reset: bounds narrow where it pulls.",
        command="play rlsuite/GaussianBandit-v0 --agent rlsuite/UCB1-v0 --steps 14 --fps 5 "
        "--gif gaussian_bandit.gif",
    ),
    Picture(
        file="drifting_bandit.gif",
        title="[DriftingBandit](environments/drifting_bandit.md)",
        text="Discounted UCB: what was paid long ago counts less, for the arms change.",
        command="play rlsuite/DriftingBandit-v0 --agent rlsuite/DiscountedUCB-v0 --steps 14 "
        "--fps 5 --gif drifting_bandit.gif",
    ),
    Picture(
        file="adversarial_bandit.gif",
        title="[AdversarialBandit](environments/adversarial_bandit.md)",
        text="Exp3-IX against rewards that were fixed beforehand; its regret is that against "
        "the best single arm.",
        command="play rlsuite/AdversarialBandit-v0 --agent rlsuite/Exp3IX-v0 --steps 14 --fps 5 "
        "--gif adversarial_bandit.gif",
    ),
    Picture(
        file="wheel_bandit.gif",
        title="[WheelBandit](environments/wheel_bandit.md)",
        text="Linear Thompson sampling on the wheel: the context is a point of the disc, and "
        "only near the rim another arm pays.",
        command="play rlsuite/WheelBandit-v0 --agent rlsuite/LinTS-v0 --steps 14 --fps 5 "
        "--gif wheel_bandit.gif",
    ),
    Picture(
        file="classification_bandit.gif",
        title="[ClassificationBandit](environments/classification_bandit.md)",
        text="Handwritten digits: the arms are the classes, and only the right one pays.",
        command="play rlsuite/ClassificationBandit-v0 --agent rlsuite/LinTS-v0 --steps 14 --fps 5 "
        "--gif classification_bandit.gif",
    ),
    Picture(
        file="lqr.gif",
        title="[LQR](environments/lqr.md)",
        text="Position, velocity and push of a mass on a line, by PPO of Stable-Baselines3; the "
        "best return is known exactly.",
        command="play rlsuite/LQR-v0 --agent sb3/PPO-v0 --steps 50000 --gif lqr.gif",
    ),
    Picture(
        file="token_generation.gif",
        title="[TokenGeneration](environments/token_generation.md)",
        text="REINFORCE with a KL penalty writes three texts. Below each letter stand its reward "
        "and its log-probability under the reference policy; the bars are what the reference would "
        "write next. The optimal return shown is that of the reward alone.",
        command="play rlsuite/TokenGeneration-v0 --agent rlsuite/Reinforce-v0 --set kl_beta=0.4 "
        "--episodes 3 --gif token_generation.gif",
    ),
    Picture(
        file="two_verifiers.gif",
        title="[TwoVerifiers](environments/two_verifiers.md)",
        text="REINFORCE with a KL penalty on two rewards: three letters are worth 1, and each of "
        "them that goes on with the alphabet 2.",
        command="play rlsuite/TwoVerifiers-v0 --agent rlsuite/Reinforce-v0 --set kl_beta=0.4 "
        "--episodes 3 --gif two_verifiers.gif",
    ),
    Picture(
        file="frozen_lake_visits.png",
        title="Gymnasium's FrozenLake",
        text="Its own environments are plotted in the same way. Under the optimal policy 0.74 of "
        "all episodes end at the goal, and that is the optimal return.",
        command="plot visits optimal FrozenLake-v1 --out frozen_lake_visits.png",
    ),
)


def page() -> str:
    """The text of docs/gallery.md."""
    parts = [INTRODUCTION]
    for picture in PICTURES:
        parts.append(f"## {picture.title}\n")
        parts.append(f"{_wrapped(picture.text.split())}\n")
        alt = picture.file.partition(".")[0].replace("_", " ")
        parts.append(f"![{alt}](images/{picture.file})\n")
        # an option and its value stay on one line
        command = _wrapped(re.split(" (?=--)", f"$ rlsuite {picture.command}"), end=CONTINUED)
        parts.append(f"```console\n{command}\n```\n")
    return "\n".join(parts)


def draw(picture: Picture, folder: Path) -> None:
    """Runs the command of a picture in a folder."""
    with chdir(folder):
        try:
            rlsuite(picture.words)
        except SystemExit as stopped:
            if stopped.code:
                raise


def _wrapped(words: Sequence[str], end: str = "", width: int = 96) -> str:
    """Lines of at most `width` characters; in a command they end in a backslash."""
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append("   " if end else "")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return f"{end}\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the pictures, all of them or the named ones, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="only these pictures, such as cliff_walk.gif")
    wanted = parser.parse_args(arguments).files or [picture.file for picture in PICTURES]
    images = DOCS / "images"
    images.mkdir(exist_ok=True)
    for picture in PICTURES:
        if picture.file in wanted:
            draw(picture, images)
    (DOCS / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
