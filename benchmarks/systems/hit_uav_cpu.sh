#!/usr/bin/env bash
# The ablations of docs/systems/ on HIT-UAV where there is no GPU: smaller networks, pictures and budgets than the papers'.
#
#   benchmarks/systems/hit_uav_cpu.sh FOLDER_OF_HIT_UAV [STUDY ...]      # sarl-yolov5 sarl-yolox yolo11-ass yolo-sod lrs-detr
#
# All rows of a study share epochs, pictures, order and seeds; the last weights are scored on val at the end, with the
# bins of AI-TOD. Each training takes one core 10 minutes (the smallest) to two hours (LRS-DETR). A run that was cut short
# goes on when it is called again. Times of a picture are taken at the end: nothing else should run then.
# bf16 where the network allows it (SARL's dilated depth-wise convolutions need fp32 on a CPU).
set -euo pipefail
data=${1:?folder of HIT-UAV}
shift
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1

study() { # name, then what differs
  finespot ablate "$1" --data "hit-uav:$data" --protocol ai-tod --epochs 10 --batch 8 --rounds 30 --threads 1 --quiet \
    --out "runs/ablate/hit-uav-cpu/$1" splits.train=train splits.val=val nominal_batch=8 close_mosaic=2 val.every=10 \
    workers=0 cache=ram device=cpu "${@:2}"
}

for name in ${*:-sarl-yolov5 sarl-yolox yolo11-ass yolo-sod lrs-detr}; do
  case $name in
    sarl-yolov5) study "$name" --seeds 0,1 --imgsz 256 model=yolov5n precision=fp32 ;;
    sarl-yolox) study "$name" --seeds 0,1 --imgsz 256 model=yolox-nano augment.mixup=0 precision=fp32 ;;
    yolo11-ass) study "$name" --seeds 0 --imgsz 256 precision=bf16 ;;
    yolo-sod) study "$name" --seeds 0 --imgsz 192 precision=bf16 ;;
    lrs-detr) study "$name" --seeds 0 --imgsz 192 precision=bf16 ;;
    *) echo "no settings for the study $name" >&2; exit 2 ;;
  esac
done
