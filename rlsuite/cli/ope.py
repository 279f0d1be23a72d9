"""`rlsuite ope`: what a policy would earn, from a log of another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlsuite.cli.options import DEVICE, SEED

if TYPE_CHECKING:
    from rlsuite.ope import BanditLog, OffPolicyEvaluation
    from rlsuite.statistics.scores import Interval

__all__ = ["ope"]


def ope(
    log: Annotated[
        Path,
        typer.Argument(
            metavar="LOG",
            help="Decisions with their propensities, of `rlsuite collect` or your own: .csv, "
            ".parquet; or .npz.",
        ),
    ],
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            metavar="POLICY",
            help="uniform; action:2 (always that one); column:NAME (probabilities of the logged "
            "actions, or columns NAME_0, NAME_1 ... of all); greedy (the best action by the reward "
            "model); or the id of an agent, with --checkpoint.",
        ),
    ] = "uniform",
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="File of the agent, which `rlsuite train --save` wrote."),
    ] = None,
    sampled: Annotated[
        bool,
        typer.Option(
            "--sampled/--greedy", help="Whether an agent acts by its own odds or greedily."
        ),
    ] = True,
    estimators: Annotated[
        str | None,
        typer.Option(
            "--estimators",
            metavar="NAMES",
            help="Which, with commas between: replay,ipw,snipw,dm,dr,sndr,switch-dr,dros; default: "
            "all that can be had.",
        ),
    ] = None,
    clip: Annotated[
        float | None, typer.Option("--clip", help="Largest weight of IPW; default: none.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="λ of Switch-DR; default: chosen from the data."),
    ] = None,
    shrinkage: Annotated[
        float | None, typer.Option("--shrinkage", help="λ of DRos; default: chosen from the data.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Model of rewards: ridge, forest or boosting.")
    ] = "ridge",
    folds: Annotated[int, typer.Option("--folds", help="Folds of its cross-fitting.")] = 3,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="NAMES",
            help="Columns of the context, with commas between; default: all named context_...",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="What action, reward, propensity or decision_id are called in the file, like "
            "--column propensity=pscore; may be given again.",
        ),
    ] = None,
    n_actions: Annotated[
        int, typer.Option("--actions", help="Number of actions; 0: the largest in the log plus 1.")
    ] = 0,
    reward_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--reward-range",
            metavar="LOW HIGH",
            help="Least and largest possible reward, for the Bernstein intervals; default: those "
            "in the log.",
        ),
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Coverage of the intervals.")] = 0.95,
    resamples: Annotated[
        int, typer.Option("--resamples", help="Resamples of the bootstrap.")
    ] = 1000,
    seed: Annotated[int, SEED] = 0,
    device: Annotated[str, DEVICE] = "cpu",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
) -> None:
    """Estimate what a policy would earn, from a log of another policy.

    Prints every estimate with intervals, what it would gain over the policy that logged, the
    effective sample size and the other figures of the weights, and warns where the estimate cannot
    be trusted.

    Example:  `rlsuite collect rlsuite/SquareCB-v0 rlsuite/ContextualBandit-v0 --learn --out
    log.csv`  then  `rlsuite ope log.csv --policy greedy`
    """
    import math

    from registry.errors import SettingError
    from rlsuite.ope import ESTIMATORS, evaluate, read

    kind, _, name = policy.partition(":")
    if checkpoint is not None and "/" not in policy:
        raise SettingError(f"--checkpoint goes with the id of an agent, got --policy {policy}.")
    found = read(
        log,
        context=_names(context),
        columns=_renamed(columns or []),
        extra=[name] if kind == "column" else [],
        n_actions=n_actions,
    )
    result = evaluate(
        found,
        _policy(policy, found, checkpoint, device),
        estimators=_names(estimators) or tuple(ESTIMATORS),
        clip=math.inf if clip is None else clip,
        threshold=threshold,
        shrinkage=shrinkage,
        model=model,
        folds=folds,
        deterministic=not sampled,
        level=level,
        resamples=resamples,
        reward_range=reward_range,
        seed=seed,
    )
    if as_json:
        import json

        from rlsuite.sessions import json_plain

        typer.echo(json.dumps(json_plain(result.as_json()), indent=2, allow_nan=False))
    else:
        _show(result, found, policy)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _renamed(assignments: list[str]) -> dict[str, str]:
    from registry.errors import SettingError

    pairs = [assignment.partition("=") for assignment in assignments]
    for name, _, column in pairs:
        if not (name and column):
            raise SettingError(
                f"--column takes NAME=COLUMN, like propensity=pscore, got {name + column!r}."
            )
    return {name: column for name, _, column in pairs}


def _policy(text: str, log: BanditLog, checkpoint: Path | None, device: str) -> Any:
    """What `rlsuite.ope.evaluate` takes, from the words of the command line."""
    from registry.catalogue import registry
    from registry.errors import SettingError

    kind, _, name = text.partition(":")
    if text in ("uniform", "greedy"):
        return text
    if kind == "column" and name:
        return name
    if kind == "action" and name.isdigit():
        return int(name)
    if "/" not in text:
        raise SettingError(
            "--policy is uniform, greedy, action:NUMBER, column:NAME, or the id of an agent such "
            f"as rlsuite/LinUCB-v0; got {text!r}."
        )
    spec = registry.agent_spec(text)
    if checkpoint is None:
        raise SettingError(
            f"{text} is evaluated as it was saved: name its file with --checkpoint FILE, which "
            "`rlsuite train --save FILE` writes."
        )
    return spec.load().load(checkpoint, device=device)


def _show(result: OffPolicyEvaluation, log: BanditLog, policy: str) -> None:
    """Two tables, the figures of the weights, and warnings."""
    from rlsuite.cli.console import print_table
    from rlsuite.ope import ESTIMATORS

    level = f"{result.logging.level:.0%}"
    print_table(
        f"Value of {policy} per decision, from {len(log):,} decisions",
        ("estimator", "value", f"{level} bootstrap", f"{level} Bernstein", "gain", ""),
        [
            (
                ESTIMATORS[e.name],
                f"{e.value:.4f}",
                _bounds(e.interval),
                _bounds(e.bernstein),
                f"{e.gain.estimate:+.4f} {_bounds(e.gain)}",
                e.remark,
            )
            for e in result.estimates
        ],
        right=(1,),
    )
    typer.echo(
        f"Logged policy: {result.logging.estimate:.4f} {_bounds(result.logging)}; a gain is the "
        "value minus this."
    )
    if any(e.biased for e in result.estimates):
        typer.echo(
            "Bias not covered: the intervals of such a row are about the mean of the estimator, "
            "and do not say how far that is from the value."
        )
    if log.unused and log.context.shape[1]:
        typer.echo(f"Columns not used: {', '.join(log.unused)}.")
    for name, why in result.left_out:
        typer.echo(f"No {ESTIMATORS[name]}: {why}.")
    typer.echo("")
    print_table("Weights", ("figure", "value"), _figures(result), right=(1,))
    typer.echo("")
    print_table(
        "Actions",
        ("action", "logged", "share", "wanted", "ESS"),
        [
            (
                str(c.action),
                f"{c.count:,}",
                f"{c.logged:.1%}",
                "unknown" if c.wanted is None else f"{c.wanted:.1%}",
                f"{c.ess:,.1f}",
            )
            for c in result.diagnostics.coverage
        ],
        right=(0, 1, 2, 3, 4),
    )
    for text in result.warnings:
        typer.secho(f"Warning: {text}", err=True, fg="yellow")


def _figures(result: OffPolicyEvaluation) -> list[tuple[str, str]]:
    d = result.diagnostics
    unsupported = "unknown" if d.unsupported is None else f"{d.unsupported:.2%}"
    if d.unsupported_actions:
        unsupported += f" (actions {', '.join(map(str, d.unsupported_actions))})"
    return [
        ("decisions", f"{d.n:,}"),
        ("effective sample size", f"{d.ess:,.1f} ({d.ess_share:.1%})"),
        ("mean weight (should be 1)", f"{d.mean_weight:.4f} ± {d.mean_weight_error:.4f}"),
        ("largest weight", f"{d.max_weight:.4g}"),
        ("clipped by IPW", f"{d.clipped_share:.2%}"),
        ("smallest propensity", f"{d.propensity_floor:.4g}"),
        ("wanted but unsupported", unsupported),
    ]


def _bounds(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "none"
    return f"[{interval.low:.4f}, {interval.high:.4f}]"
