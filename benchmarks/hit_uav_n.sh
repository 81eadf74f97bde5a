#!/usr/bin/env bash
# How the bundled weights hit-uav-n were made, without a GPU: two CPU cores with bf16 instructions, about three hours.
#
#   benchmarks/hit_uav_n.sh FOLDER_OF_HIT_UAV
#
# First at a small size, where an epoch is cheap, then at sizes from 384 to 640 px around 512 and at 640 (AP 0.375), then
# both once more with pictures of rare classes repeated (AP 0.442). Several processes give other random numbers than
# one, so a repetition comes near the same figure, not to the same weights (the first two epochs of the second run went
# through one process here). The full run that this stands in for is the recipe hit-uav-n (benchmarks/gpu/queue.yaml).
set -euo pipefail
data=${1:?folder of HIT-UAV}
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
work=runs/hit-uav-n

finespot train yolo11n --data "hit-uav:$data" --project "$work" --set name=small epochs=20 imgsz=320 batch=16 \
  nominal_batch=16 val.every=0 patience=0 device=cpu seed=0

finespot train yolo11n --data "hit-uav:$data" --project "$work" --set name=full \
  weights="$work/small/weights/last.safetensors" data_licence="CC BY 4.0 (HIT-UAV)" epochs=54 imgsz=512 \
  multi_scale=0.25 batch=16 nominal_batch=16 schedule.warmup_epochs=1 augment.copy_paste=0.2 close_mosaic=10 \
  val.every=9 patience=0 precision=bf16 cache=ram device=cpu devices=2

finespot train yolo11n --data "hit-uav:$data" --project "$work" --set name=large \
  weights="$work/full/weights/last.safetensors" data_licence="CC BY 4.0 (HIT-UAV)" epochs=10 imgsz=640 batch=16 \
  nominal_batch=16 lr=0.005 schedule.warmup_epochs=0.5 schedule.final=0.02 augment.copy_paste=0.3 close_mosaic=6 \
  val.every=5 patience=0 precision=bf16 cache=ram device=cpu devices=2

finespot train yolo11n --data "hit-uav:$data" --project "$work" --set name=again \
  weights="$work/large/weights/last.safetensors" data_licence="CC BY 4.0 (HIT-UAV)" epochs=36 imgsz=512 \
  multi_scale=0.25 batch=16 nominal_batch=16 lr=0.01 schedule.warmup_epochs=1 schedule.final=0.3 \
  augment.copy_paste=0.3 repeat_rare=0.5 close_mosaic=0 val.every=6 patience=0 precision=bf16 cache=ram device=cpu \
  devices=2 seed=1

finespot train yolo11n --data "hit-uav:$data" --project "$work" --set name=last \
  weights="$work/again/weights/last.safetensors" data_licence="CC BY 4.0 (HIT-UAV)" epochs=10 imgsz=640 batch=16 \
  nominal_batch=16 lr=0.003 schedule.warmup_epochs=0.5 schedule.final=0.02 augment.copy_paste=0.3 repeat_rare=0.5 \
  close_mosaic=5 val.every=5 patience=0 precision=bf16 cache=ram device=cpu devices=2 seed=2
