#!/usr/bin/env bash
# How the bundled seeker hit-uav-seeker was made, without a GPU: about four minutes of one CPU core with bf16
# instructions.
#
#   benchmarks/hit_uav_seeker.sh FOLDER_OF_HIT_UAV
#
# Learned on the split train (12 epochs: 12.6 % of the area hot where 99 % of the objects of val are reached; 8 more
# from there: 11.4 %); the threshold, chosen on val, is in the file.
set -euo pipefail
data=${1:?folder of HIT-UAV}
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
work=runs/hit-uav-seeker

finespot train seeker --data "hit-uav:$data" --project "$work" --set name=first \
  data_licence="CC BY 4.0 (HIT-UAV)" epochs=12 val.every=4 precision=bf16 cache=ram workers=0 device=cpu

finespot train seeker --data "hit-uav:$data" --project "$work" --set name=second \
  weights="$work/first/weights/best.safetensors" data_licence="CC BY 4.0 (HIT-UAV)" epochs=8 lr=0.002 \
  close_mosaic=3 val.every=4 precision=bf16 cache=ram workers=0 device=cpu seed=1

cp "$work/second/weights/best.safetensors" src/finespot/weights/bundled/hit-uav-seeker.safetensors
