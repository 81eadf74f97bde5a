"""How long does each form of the seeker take to read a map?

    python -m benchmarks.esod.seeker_forms [--size 2048 2560] [--channels 128] [--rounds 7] [--json FILE]

The map is of noise and of stride 8, as behind the stem of YOLO11n and a picture of that size; one thread, CPU seconds,
in turns. `times` is how many times as fast as the form "deep".
"""

from __future__ import annotations

import torch

from benchmarks.report import arguments, publish, ratio, spread, table, take_turns
from finespot.nn.relays import Seeker
from finespot.structures import Features, Level

FORMS = ("depthwise", "pooled", "deep", "coarse")


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--size", type=int, nargs=2, default=[2048, 2560], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--channels", type=int, default=128)
    options = parser.parse_args()
    torch.set_num_threads(1)
    level = Level(options.channels, 8)
    seen = torch.rand(1, level.channels, *(side // level.stride for side in options.size))
    given = Features([seen.to(memory_format=torch.channels_last)], (level,))
    made = {form: Seeker([level], form=form).eval() for form in FORMS}
    for one in made.values():
        one.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        taken = take_turns({form: lambda one=one: one(given) for form, one in made.items()}, options.rounds)
    rows = [{"form": form, "cpu_s": spread(own), "times": ratio(taken["deep"], own)} for form, own in taken.items()]
    print(table(["form", "CPU s", "times"], [[str(row[key]) for key in ("form", "cpu_s", "times")] for row in rows]))
    settings = {"size": options.size, "channels": options.channels, "rounds": options.rounds}
    publish({"benchmark": "esod_seeker_forms", "settings": settings, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
