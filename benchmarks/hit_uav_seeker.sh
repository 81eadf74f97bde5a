#!/usr/bin/env bash
# How the bundled seeker hit-uav-seeker was made, without a GPU: 40 minutes of one CPU core.
#
#   benchmarks/hit_uav_seeker.sh FOLDER_OF_HIT_UAV
#
# Learned on the split train, at half the size of the pictures, from pieces of 320 px, which are seen more often than
# whole frames in the same time and leave fewer false alarms. The threshold is chosen on val, by what tiles of 256 px
# show of its objects (the pictures are no larger than a usual tile), for 97 % of them.
set -euo pipefail
data=${1:?folder of HIT-UAV}
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
work=runs/hit-uav-seeker

finespot train seeker --data "hit-uav:$data" --project "$work" --set name=seeker data_licence="CC BY 4.0 (HIT-UAV)" \
  options.reduction=2 options.width=20 imgsz=160 epochs=30 tile.keep_empty=0.35 val.every=99 precision=fp32 \
  cache=ram workers=0 device=cpu

finespot weights calibrate "$work/seeker/weights/best.safetensors" "$work/seeker.safetensors" --half --overwrite \
  --data "hit-uav:$data" --split val --slice 256 --recall 0.97
cp "$work/seeker.safetensors" src/finespot/weights/bundled/hit-uav-seeker.safetensors
