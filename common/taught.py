"""Where models start that were taught on drawn faces (sims/pretrain.py): arrays that are shipped.

No photograph had a part in them, so a start from them costs no privacy.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from fedward.common.arrays import Arrays, read_arrays

MUSCLES = Path(__file__).with_name("muscle_net.safetensors")
ROWS = Path(__file__).with_name("row_lstm.safetensors")

# compact-cnn begins as the muscle network does, cnn-lstm as far as its maps of 12x12
FILES: Mapping[str, Path] = MappingProxyType(
    {"compact-cnn": MUSCLES, "cnn-lstm": MUSCLES, "lstm": ROWS}
)


def taught_arrays(model: str, arrays: Arrays) -> Arrays:
    """Those of a model's arrays that were taught; ``arrays`` gives the names that it has."""
    taught = read_arrays(FILES[model])
    return {name: taught[name] for name in arrays if name in taught}
