#!/usr/bin/env bash
# All measurements of large pictures in one go, one after the other on a machine that does nothing else (three to four
# hours on two cores, of which ESOD and its dense host learn for more than one); figures of each go to OUT as JSON,
# tables to the screen.
#
#   benchmarks/highres/all.sh HIT_UAV AERIAL_CARS [OUT]       # folders of both sets; OUT: runs/highres
#
# What stands beside SAHI needs the scratch environment of benchmarks/peers/setup.sh; without it that is left out.
set -euo pipefail
data=$(realpath "${1:?folder of HIT-UAV}")
aerial=$(realpath "${2:?folder of aerial-cars}")
out=$(realpath -m "${3:-runs/highres}")
cd "$(dirname "$0")/../.."
mkdir -p "$out"

bench() { # name of the figures, then the command
  echo "== $1" >&2
  "${@:2}" --json "$out/$1.json"
}

if [ -x .peers/run ]; then
  sliced=(.peers/run -m benchmarks.highres.sliced --rounds 3 --pictures 5 --data "$data" --aerial "$aerial")
  bench sliced "${sliced[@]}"
  bench sliced-wall "${sliced[@]}" --wall
  bench merge .peers/run -m benchmarks.highres.merge
else
  echo "no .peers/run: nothing beside SAHI (benchmarks/peers/setup.sh makes it)" >&2
fi
export OMP_NUM_THREADS=1
bench adaptive python -m benchmarks.highres.adaptive --recalls 0.95 0.92 0 --data "$data"
bench merge-alone python -m benchmarks.highres.merge
bench esod-cost python -m benchmarks.esod.cost
bench esod-train-step python -m benchmarks.esod.train_step
bench esod-sparse-head python -m benchmarks.esod.sparse_head
bench esod-seeker-forms python -m benchmarks.esod.seeker_forms
bench esod-budget python -m benchmarks.esod.budget "$out/esod-budget" --data "$data"
unset OMP_NUM_THREADS
bench raster python -m benchmarks.highres.raster
