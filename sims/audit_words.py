"""An audit in words, a line for every study."""

from fedward.sims.audit_table import AuditReport, AuditRow


def in_words(row: AuditRow) -> str:
    """What was claimed, what was found, and what that means."""
    return " ".join(
        [
            f"{_name(row)}: claimed epsilon {row.epsilon_claimed:.3g} per {row.unit} at delta "
            f"{row.delta:g}.",
            f"{row.right} of {row.guesses} guesses about {row.canaries} canaries are right; at "
            f"{row.confidence:.0%} confidence epsilon is at least {row.epsilon_lower_bound:.2f} by "
            f"(epsilon, delta) alone, {row.epsilon_lower_bound_curve:.2f} by the whole curve.",
            _verdict(row),
            f"Membership by the released model's loss: AUC {row.attack_auc:.3f}, "
            f"{row.attack_tpr_at_1_fpr:.1%} found at 1 % false alarms "
            f"(canaries: {row.canary_auc:.3f}, {row.canary_tpr_at_1_fpr:.1%}).",
        ]
    )


def markdown(report: AuditReport) -> str:
    """The rows as a table for people."""
    heads = [
        "Recipe",
        "Broken",
        "Unit",
        "Size",
        "Canaries",
        "Right",
        "Claimed epsilon",
        "At least",
        "At least, by the curve",
        "Verdict",
        "AUC",
        "Found at 1 %",
    ]
    lines = [_line(heads), "|---" * len(heads) + "|", *(_line(_cells(row)) for row in report.rows)]
    return "\n".join(lines) + "\n"


def _cells(row: AuditRow) -> list[str]:
    return [
        f"`{row.recipe}`",
        f"`{row.broken}`" if row.broken else "no",
        row.unit,
        f"{row.size:,}",
        f"{row.canaries:,}",
        f"{row.right} of {row.guesses}",
        f"{row.epsilon_claimed:.3g}",
        f"{row.epsilon_lower_bound:.2f}",
        f"{row.epsilon_lower_bound_curve:.2f}",
        "passes" if row.passes else "refuted",
        f"{row.attack_auc:.3f}",
        f"{row.attack_tpr_at_1_fpr:.1%}",
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(row: AuditRow) -> str:
    return f"{row.recipe}, broken on purpose ({row.broken})" if row.broken else row.recipe


def _verdict(row: AuditRow) -> str:
    if row.passes:
        return "The claim stands: nothing was found against it."
    return "THE CLAIM IS REFUTED: do not release."
