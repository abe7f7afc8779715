"""A plan in words, for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedward.client.rounds_left import RoundsLeft
from fedward.common.config import Frozen, Unit
from fedward.common.noise import MOST_ROUNDS
from fedward.common.wording import many, rounded_up
from fedward.sims.over_seeds import accuracy_in_words
from fedward.sims.plan import Plan, RoundCost, thinned
from fedward.sims.plan_estimates import Estimate

WIDTH, LABEL = 80, 18
PER_IMAGE = (
    "one image: each image counts as one unit, and --patients counts images. No epsilon of a "
    "patient is claimed; a patient with several images is protected less."
)
PER_PATIENT = "one patient with all images; --patients counts patients."
NO_ESTIMATE = "No simulation of this model is known: nothing can be said about its accuracy."
CAUTION = (
    "Estimates, not promises: other faces, sizes, settings and numbers of rounds give other "
    "accuracies. Mean over seeds ± sample standard deviation over seeds (none for one seed)."
)


class Outlook(Frozen):
    """What `fedward plan --json` prints; ``rounds_left`` is None where no ledger is named."""

    plan: Plan
    estimates: tuple[Estimate, ...]
    rounds_left: RoundsLeft | None = None


def plan_in_words(plan: Plan, *, every: bool = False) -> str:
    """The numbers of a plan and its table of rounds.

    Args:
        plan: from ``make_plan``.
        every: show every round that was accounted for.
    """
    title = f"{plan.recipe} at a hospital of {many(plan.size, plan.unit)}, model {plan.model}"
    lines = [title, "", *_labelled(_numbers(plan)), ""]
    for warning in plan.warnings:
        lines += [_wrapped(f"Note: {warning}."), ""]
    costs = plan.costs if every else thinned(plan.costs)
    return "\n".join([*lines, *_rounds(costs)])


def _numbers(plan: Plan) -> list[tuple[str, str]]:
    rate = "1 (full batch)" if plan.sample_rate == 1 else f"{plan.sample_rate:.4g}"
    noise = f"{plan.noise_multiplier:.4g} of a training step"
    first = plan.statistics_noise_multiplier
    if first is not None:
        noise += f", {first:.4g} of the statistics (round 1)"
    training = plan.rounds - (first is not None)
    return [
        ("unit", PER_IMAGE if plan.unit == "image" else PER_PATIENT),
        ("epsilon", f"{rounded_up(plan.epsilon)} at delta {plan.delta:g}, for all rounds together"),
        ("delta", _delta(plan)),
        ("noise multiplier", f"{noise}; times clipping norm {plan.clipping_norm:g}"),
        ("sampling rate", rate),
        (
            "rounds",
            f"{plan.rounds:,}, of which {training:,} train" if first else f"{plan.rounds:,}",
        ),
        ("steps", f"{plan.steps_per_round:,} a training round, {plan.steps:,} in all"),
        ("mechanism", plan.mechanism),
        ("accountant", plan.accountant),
    ]


def _delta(plan: Plan) -> str:
    whole = f"1/{plan.size:,} ({1 / plan.size:.1e})"
    also = "not" if plan.delta > plan.delta_advisable else "also"
    return f"{plan.delta:g}, below {whole}, {also} below a tenth of it"


def _rounds(costs: Sequence[RoundCost]) -> list[str]:
    all_there = len(costs) == costs[-1].round
    lines = [f"{'after round':>11}  {'epsilon':>9}  {'a round adds':>12}"]
    lines += [f"{cost.round:>11,}  {cost.epsilon:>9.4f}  {cost.adds:>12.4f}" for cost in costs]
    if not all_there:
        lines.append(_wrapped("Adds: mean over the rounds since the row above."))
    return lines


def estimates_in_words(rows: Sequence[Estimate], runs: Path, unit: Unit) -> str:
    """The table of accuracy against epsilon, marked as what it is.

    Args:
        rows: from ``estimates_for``.
        runs: where those come from that are not published.
        unit: what the plan's epsilon is about.
    """
    own = [row for row in rows if row.source == "runs"]
    published = [row for row in rows if row.source == "published"]
    if not rows:
        return _wrapped(NO_ESTIMATE)
    lines = ["Accuracy that simulations of this model reached (estimates)"]
    for name, part in ((f"Runs in {runs}", own), ("Published with Fedward", published)):
        if part:
            lines += ["", *_table(name, part)]
    mixed = any(row.unit != unit for row in rows)
    other = f" The plan's unit is one {unit}; epsilon above is not always." if mixed else ""
    return "\n".join([*lines, "", _wrapped(CAUTION + other)])


def _table(name: str, rows: Sequence[Estimate]) -> list[str]:
    data = sorted({f"{row.split} of {row.data}" for row in rows})
    units = sorted({row.unit for row in rows})
    said = f"{name}: simulations, scored on {', '.join(data)}; unit: one {' or '.join(units)}."
    heads = f"{'epsilon':>7}  {'hospitals':>9}  {'rounds':>6}  {'accuracy':>12}  {'macro-F1':>8}"
    return [_wrapped(said), f"{heads}  {'seeds':>5}  recipe", *map(_row, rows)]


def _row(row: Estimate) -> str:
    epsilon = "none" if row.epsilon is None else rounded_up(row.epsilon)
    accuracy = accuracy_in_words(row.accuracy_mean, row.accuracy_std)
    f1 = f"{100 * row.macro_f1_mean:.1f} %"
    return (
        f"{epsilon:>7}  {row.hospitals:>9}  {row.rounds:>6}  {accuracy:>12}  {f1:>8}  "
        f"{len(row.seeds):>5}  {row.recipe}"
    )


def room_in_words(room: RoundsLeft, ledger: Path) -> str:
    """How many more rounds a ledger has room for."""
    if room.refusal is not None:
        return _wrapped(f"{ledger}: no round of {room.study} may run: {room.refusal}")
    rest = f"only the first {room.fit:,} fit" if room.fit else "not one fits"
    verdict = "all of them fit" if room.fit >= room.planned else rest
    return _wrapped(
        f"{ledger}: room for {_count(room.in_total)} in what is left in total, for "
        f"{_count(room.in_share)} in the share of study {room.study}, counted as a new run at the "
        f"ledger's delta {room.delta:g}. It takes {room.planned:,}: {verdict}."
    )


def _count(rounds: int) -> str:
    return f"{rounds:,} or more rounds" if rounds >= MOST_ROUNDS else many(rounds, "round")


def _labelled(pairs: Iterable[tuple[str, str]]) -> list[str]:
    indent = " " * LABEL
    return [
        textwrap.fill(f"{label:{LABEL}}{text}", WIDTH, subsequent_indent=indent)
        for label, text in pairs
    ]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
