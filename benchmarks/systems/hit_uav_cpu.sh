#!/usr/bin/env bash
# The ablations of docs/systems/ on HIT-UAV where there is no GPU: smaller networks, pictures and budgets than the papers'.
#
#   benchmarks/systems/hit_uav_cpu.sh FOLDER_OF_HIT_UAV [STUDY ...]      # sarl-yolov5 sarl-yolox yolo11-ass yolo-sod
#                                                                      # yolo-sod-curriculum lrs-detr
#
# Every 4th picture of train (every 8th, and every 2nd of val, for the two large networks), in tiles of 128 px that show
# objects at their own size; whole pictures of val are scored with their tiles merged, by the rules of AI-TOD. All rows
# of a study share epochs, tiles, order and seeds; the last weights are scored. Each training takes one core 5 to 30
# minutes. A run that was cut short goes on when it is called again. Times of a picture are taken at the end: nothing
# else should run then. bf16 where the network allows it (SARL's dilated depth-wise convolutions need fp32 on a CPU).
set -euo pipefail
data=${1:?folder of HIT-UAV}
shift
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
out=runs/ablate/hit-uav-cpu

thinned() { # folder, then every which picture
  [ -e "$out/$1" ] || python -m benchmarks.systems.thinned "hit-uav:$data" "$out/$1" "${@:2}"
}

study() { # name or file, set, epochs, then what differs
  finespot ablate "$1" --data "coco:$out/$2" --protocol ai-tod --epochs "$3" --batch 8 --imgsz 128 --rounds 30 --threads 1 \
    --quiet --out "$out/$name" splits.train=train splits.val=val nominal_batch=8 close_mosaic=2 "val.every=$3" \
    tile.size=128 tile.overlap=0.25 tile.keep_empty=0 workers=0 cache=ram device=cpu "${@:4}"
}

thinned quarter train=4 val=1
thinned eighth train=8 val=2
for name in ${*:-sarl-yolov5 sarl-yolox yolo11-ass yolo-sod yolo-sod-curriculum lrs-detr}; do
  case $name in
    sarl-yolov5) # AdamW learns more in twelve epochs than the recipe's SGD, which is meant for 300
      study "$name" quarter 12 --seeds 0 --rows yolov5,sarl,sal,both model=yolov5n precision=fp32 \
        optimizer.name=adamw optimizer.lr=0.001 schedule.warmup_epochs=1 val.iou=0.7 ;;
    sarl-yolox) # its learning rate is meant for 300 epochs: four times that, and a short warm-up, for twelve
      study "$name" quarter 12 --seeds 0 --rows 'yolox,sarl,sal,both,beta 1,beta 1 by ln2' model=yolox-nano augment.mixup=0 \
        precision=fp32 optimizer.lr=0.000625 schedule.warmup_epochs=1 ;;
    yolo11-ass) study "$name" quarter 8 --seeds 0 precision=bf16 ;;
    # of eight epochs the last stage of the curriculum is one, so no more than one can do without joined pictures
    yolo-sod) study "$name" eighth 8 --seeds 0 --rows 'E1,E2,E3,E4,E5,E6,full,released rule,repaired' precision=bf16 ;;
    yolo-sod-curriculum) study "benchmarks/systems/$name.yaml" eighth 8 precision=bf16 close_mosaic=1 ;;
    lrs-detr) # three times the learning rate of the recipe and a short warm-up: without pretraining, 1,000 steps are few
      study "$name" eighth 8 --seeds 0 --rows rtdetr-r18,lrs-detr-b precision=bf16 \
        optimizer.lr=0.0003 schedule.name=cosine schedule.final=0.05 schedule.warmup_epochs=0.5 multi_scale=0 ;;
    *) echo "no settings for the study $name" >&2; exit 2 ;;
  esac
done
