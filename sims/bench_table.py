"""The figures of `fedward bench step` for people."""

from rich.table import Table

from fedward.sims.bench_step import StepBench


def table_of(bench: StepBench) -> Table:
    """A line for every variant, a section for every case."""
    table = Table(title=f"One step on one thread, torch {bench.torch}, {bench.turns} turns")
    for name in ("model", "batch", "variant"):
        table.add_column(name)
    for name in ("ms", "x plain at best", "peak MB", "error f32", "error f64"):
        table.add_column(name, justify="right")
    last: tuple[str, int] | None = None
    for row in bench.rows:
        case = (row.model, row.batch)
        if last and case != last:
            table.add_section()
        first = case != last
        table.add_row(
            row.model if first else "",
            str(row.batch) if first else "",
            row.variant,
            f"{row.seconds * 1e3:.1f}",
            f"{row.ratio_to_plain_best:.2f}",
            "-" if row.peak_mb is None else f"{row.peak_mb:.0f}",
            "-" if row.max_rel_error is None else f"{row.max_rel_error:.0e}",
            "-" if row.max_rel_error_float64 is None else f"{row.max_rel_error_float64:.0e}",
        )
        last = case
    return table
