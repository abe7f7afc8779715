"""Audits of one or more studies, and the files that they leave."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fedward.common.config import Study
from fedward.common.errors import ConfigError
from fedward.common.files import write_bytes, write_text
from fedward.server.drawing import png
from fedward.sims.audit import audit
from fedward.sims.audit_mechanism import Broken
from fedward.sims.audit_plot import audit_figure
from fedward.sims.audit_table import AuditReport
from fedward.sims.audit_words import markdown

CURE = "free some space and run the audit again"


def audit_all(
    studies: Sequence[Study],
    out: Path,
    *,
    canaries: int,
    broken: Broken | None,
    tell: Callable[[str, int, int], None],
) -> AuditReport:
    """Audit studies one after the other; write audit.json, audit.md and audit.png into ``out``.

    Args:
        studies: at least one.
        out: the folder; it may exist.
        canaries: crafted patients for each study.
        broken: breaks every mechanism on purpose.
        tell: hears of every round that begins: of which study, its number from 0, how many.

    Raises:
        ConfigError: a study without privacy, before anything runs.
        DataError: faces cannot be used.
        RunError: the folder cannot be written.
    """
    if without := [study.name for study in studies if study.privacy is None]:
        raise ConfigError(
            f"{', '.join(without)}: no privacy is claimed, so there is nothing to audit; choose a "
            "private study"
        )

    def each(study: Study) -> Callable[[int, int], None]:
        return lambda number, rounds: tell(f"{study.name}, a round", number - 1, rounds)

    found = [audit(s, canaries=canaries, broken=broken, tell=each(s)) for s in studies]
    report = AuditReport(rows=[audited.row for audited in found])
    write_text(out / "audit.json", report.model_dump_json(indent=2) + "\n")
    write_text(out / "audit.md", markdown(report))
    write_bytes(out / "audit.png", png(audit_figure(found)), cure=CURE)
    return report
