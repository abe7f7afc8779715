"""A search in words: the ranking as Markdown, and what the choice costs in privacy."""

from collections.abc import Sequence

from fedward.common.wording import many, rounded_up, scientific
from fedward.sims.over_seeds import accuracy_in_words
from fedward.sims.search_plan import Settings, in_words, written
from fedward.sims.search_table import Search, SearchPrivacy

PAPER = (
    "Papernot and Steinke 2022, “Hyperparameter Tuning with Renyi Differential Privacy”, show that "
    "a choice among runs reveals more than one run does"
)
JUDGED = """\
Accuracy is the mean over seeds ± the sample standard deviation over seeds (none for one seed),
macro-F1 the mean, epsilon the largest of any hospital in any run of the row, for that run alone.
The judge is a fixed fifth of Training's patients, after curation, which no run here trains on; the
test splits have no part in the choice. One standard error is the larger of two: what other seeds
would change, and what other images would. Runs: one folder for each candidate and seed, beside this
file. `winner.json` is the study with the winner's settings and its own test split, for a run that
trains on all of Training: `fedward simulate --config winner.json`.
"""


def privacy_statement(privacy: SearchPrivacy | None, *, runs: int) -> list[str]:
    """What a search of so many runs costs in privacy, in sentences.

    Source: Papernot and Steinke 2022, "Hyperparameter Tuning with Renyi Differential Privacy".
    """
    if privacy is None:
        return [
            "No privacy is claimed: the runs were made without differential privacy, so nothing "
            "bounds what they, or the choice between them, reveal about an image of Training or of "
            "its validation part."
        ]
    return [
        f"Each run alone: epsilon is at most {rounded_up(privacy.epsilon_one_run)} at delta "
        f"{scientific(privacy.delta)} for one {privacy.unit} that is trained on. This does not "
        "cover the choice.",
        _together(privacy, runs),
        f"One {privacy.unit} of the validation part has no guarantee with respect to the choice: "
        "the scores that decide it are computed on the validation part and looked at without "
        "noise.",
        "Counted are the runs of this command alone. A study that is run afterwards with the "
        "chosen settings spends its own epsilon beside, and so does whatever else was tried on the "
        "same images.",
        "The noise of a simulation is repeatable: these numbers say what a deployment with secret "
        "noise would spend, and protect nobody.",
    ]


def _together(privacy: SearchPrivacy, runs: int) -> str:
    everything = f"All {runs} runs together" if runs > 1 else "The one run and its score"
    if privacy.epsilon_all_runs is None:
        return f"{everything}: no finite epsilon can be claimed. {PAPER}."
    return (
        f"{everything}, by composition of their mechanisms ({privacy.accountant}): epsilon is at "
        f"most {rounded_up(privacy.epsilon_all_runs)} at delta {scientific(privacy.delta)} for one "
        f"{privacy.unit} of Training that is not in the validation part. Publishing the choice, or "
        f"the winner's model, reveals no more about it than that. {PAPER}."
    )


def markdown(found: Search) -> str:
    """search.md: the winner, who is tied with it, everybody, the command, the cost in privacy."""
    first = found.candidates[0]
    best = accuracy_in_words(first.accuracy_mean, first.accuracy_std)
    points = f"{100 * found.standard_error:.1f} points"
    tied = "; ".join(_code(settings) for settings in found.tied) or "none"
    statements = "\n".join(f"- {sentence}" for sentence in found.privacy_statement)
    seeds = ", ".join(map(str, found.seeds))
    return f"""\
# Settings of {found.recipe}, chosen on {found.split} of {found.data}

Winner: {_code(found.winner)}, accuracy {best} on
{many(found.validation_images, "image")}, seeds {seeds}.

Within one standard error of it ({points}): {tied}.

{_table(found)}

The same choice again (Fedward {found.fedward_version}, data {_hashes(found.data_sha256)}):

```sh
{found.command}
```

{JUDGED}
## What it costs in privacy

{statements}
"""


def _table(found: Search) -> str:
    keys = [f"`{key}`" for key in found.varied]
    heads = ["Rank", *keys, "Accuracy", "Macro-F1", "Epsilon"]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for rank, row in enumerate(found.candidates, start=1):
        values = [written(row.settings[key]) for key in found.varied]
        epsilon = "none" if row.epsilon is None else rounded_up(row.epsilon)
        f1 = f"{100 * row.macro_f1_mean:.1f} %"
        lines.append(
            _line(
                [
                    str(rank),
                    *values,
                    accuracy_in_words(row.accuracy_mean, row.accuracy_std),
                    f1,
                    epsilon,
                ]
            )
        )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(settings: Settings) -> str:
    return f"`{in_words(settings)}`"


def _hashes(hashes: Sequence[str]) -> str:
    if len(hashes) > 1:
        return "drawn anew by every seed"
    return f"sha256 {hashes[0][:12]}"
