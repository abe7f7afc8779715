"""Peak memory of training steps, each measured in a process that has done nothing before.

Run as ``python -m fedward.sims.bench_memory MODEL:BATCH ...``: a fresh process loads everything
once, and a forked child for every variant has no freed memory of others' steps to fall back on.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from fedward.sims.bench_variants import VARIANTS, Variant, make_batch, make_model, make_stepper

Peaks = dict[Variant, float | None]


def peak_memory(cases: Sequence[tuple[str, int]]) -> list[Peaks]:
    """Megabytes that steps need above what was held before, for every case and variant; None where
    the system does not tell (Linux does)."""
    words = [f"{model}:{batch}" for model, batch in cases]
    command = [sys.executable, "-m", "fedward.sims.bench_memory", *words]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    peaks: list[Peaks] = json.loads(answer.stdout)
    return peaks


def main(words: Sequence[str]) -> None:
    """Print the peaks of all cases as JSON."""
    warnings.simplefilter("ignore")  # of Opacus, about its own hooks
    torch.set_num_threads(1)
    cases = [word.split(":") for word in words]
    peaks = [{v: _peak_mb(model, int(batch), v) for v in VARIANTS} for model, batch in cases]
    print(json.dumps(peaks))


def _peak_mb(model: str, batch: int, variant: Variant) -> float | None:
    if _status_mb("VmHWM") is None:
        return None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for rows in (2, batch):  # the first loads what is needed at any batch size
                inputs, labels = make_batch(model, rows, torch.float32)
                stepper = make_stepper(
                    variant,
                    make_model(model),
                    inputs,
                    labels,
                    noise_multiplier=1.0,
                    clipping_norm=1.0,
                )
                before = _status_mb("VmRSS") or 0.0
                stepper.step()
                stepper.step()
            os.write(writer, str((_status_mb("VmHWM") or 0.0) - before).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return round(float(text), 1) if text else None


def _status_mb(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return next((float(kilobytes) / 1024 for kilobytes in found), None)


if __name__ == "__main__":
    main(sys.argv[1:])
