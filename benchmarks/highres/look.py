"""What a seeker's look at a picture costs, and what its strips spare.

    OMP_NUM_THREADS=1 python -m benchmarks.highres.look [--seeker hit-uav-seeker] [--rounds 7] [--json FILE]

"look": from the pixels to the map of heat, as `predict --seeker` takes it. "whole": the same with the first stages on
the whole picture at once in place of strips (`finespot.nn.seeker`). CPU milliseconds of one thread, in turns.
"""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import arguments, publish, ratio, spread, table, take_turns
from finespot.inference import Seeker, load_seeker
from finespot.nn import seeker as network

SIZES = ((512, 640), (2048, 2560), (4096, 5120))
ENDLESS = 10**9


def whole(seeker: Seeker, pixels: NDArray[np.uint8]) -> None:
    with patch.object(network, "_CELLS", ENDLESS):
        seeker.heat(pixels)


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--seeker", default="hit-uav-seeker")
    parser.add_argument("--precision", default="auto", help="of the seeker: auto, fp32 or bf16")
    options = parser.parse_args()
    seeker = load_seeker(options.seeker, threads=1, precision=options.precision)
    draw = np.random.default_rng(0)
    rows = []
    for height, width in SIZES:
        pixels = draw.integers(0, 256, (height, width, 3), np.uint8)
        sides = {"look": partial(seeker.heat, pixels), "whole": partial(whole, seeker, pixels)}
        taken = take_turns(sides, options.rounds)
        rows.append(
            {
                "pixels": f"{width}x{height}",
                "look_ms": spread(taken["look"], 1000),
                "whole_ms": spread(taken["whole"], 1000),
                "whole_to_look": ratio(taken["whole"], taken["look"]),
            }
        )
    print(table(list(rows[0]), [row.values() for row in rows]))
    publish({"benchmark": "look", "precision": seeker.precision, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
