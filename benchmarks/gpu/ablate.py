"""Runs a study of the package (docs/ablate.md), or goes on with it: a job of the GPU queue (see run.py).

    python -m benchmarks.gpu.ablate --study p2 --data .data/hit-uav --work .data/gpu/ablate-p2 --json FILE
        [--format hit-uav] [--rows plain p2] [--seeds 0 1 2] [--device auto] [--set epochs=50 batch=16]

The result is the study's own report with machine and versions. A job that is cut short goes on at the next call; a cell
that fails is in the report, and the job ends with an error. Splits are the data set's train and val, whatever the study
names: what is claimed there for another set stands beside it with its source.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.report import arguments, publish
from finespot.studies import ablate, load_study, plan
from finespot.studies.tables import markdown
from finespot.training.recipe import parse_words


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--study", required=True)
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"))
    parser.add_argument("--format", default="hit-uav", help="of the data set")
    parser.add_argument("--work", type=Path, required=True, help="folder of the study")
    parser.add_argument("--rows", nargs="+", help="only these rows")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--protocol", help="instead of the study's own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="recipe keys of all rows")
    options = parser.parse_args()
    values = {"splits.train": "train", "splits.val": "val", **parse_words(options.set), "device": options.device}
    data = f"{options.format}:{options.data}"
    study = load_study(options.study, data, seeds=options.seeds, protocol=options.protocol, overrides=values)
    made = ablate(plan(study, rows=options.rows, out=options.work), note=lambda text: print(text, flush=True))
    print(markdown(made.results))
    publish({"benchmark": "gpu_ablate", **made.results.to_json()}, options.json, "lightning-fabric")
    sys.exit(1 if made.results.failures else 0)


if __name__ == "__main__":
    main()
