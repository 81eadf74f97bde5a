#!/usr/bin/env bash
# Makes the scratch environment of the comparisons in .peers/ at the repository root (ignored by git).
#
#   benchmarks/peers/setup.sh                 # about five minutes and 1.6 GB
#   .peers/run -m benchmarks.peers.predict    # how every script here is started, from the repository root
#
# The peers (ultralytics is AGPL-3.0) are measured, never imported by FineSpot or its tests, and never copied.
# torch comes first and alone, so that nothing replaces it; torchvision comes without its dependencies, in the one
# release that belongs to this torch; FineSpot itself is installed from this checkout, so that both sides run in one
# process. To get torch without CUDA, point pip at an index that has the CPU build (PIP_EXTRA_INDEX_URL).
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-python3}
HOME_DIR=.peers
VENV=$HOME_DIR/venv
PIP="$VENV/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt"

mkdir -p "$HOME_DIR"
test -x "$VENV/bin/python" || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade pip

$PIP torch==2.13.0
$PIP --no-deps torchvision==0.28.0
$PIP ultralytics==8.4.190 pycocotools==2.0.11 transformers torch==2.13.0 torchvision==0.28.0
# What the checkouts of YOLOX and RT-DETR and the matcher of transformers import.
$PIP loguru==0.7.3 tabulate==0.10.0 scipy==1.17.1
# TIDE's own program, for benchmarks/eval/tide_parity.py; the OpenCV that it imports came with ultralytics.
$PIP tidecv==1.0.1
# The other evaluators of COCO files; numpy is all that they need for boxes.
$PIP --no-deps faster-coco-eval==1.8.0 hotcoco==1.3.0
$PIP --no-deps --editable .
# FineSpot's requirements, with torch and torchvision named again so that pip leaves them alone.
"$VENV/bin/python" - > "$HOME_DIR/requirements.txt" <<'PY'
from importlib.metadata import requires

print("\n".join(line for line in requires("finespot") if "extra ==" not in line))
PY
$PIP --requirement "$HOME_DIR/requirements.txt" torch==2.13.0 torchvision==0.28.0
"$VENV/bin/python" -m pip check
# After the check, as they lack what they ask for: the merging of tiles needs one package of SAHI's, two of supervision's.
$PIP --no-deps sahi==0.12.8 shapely supervision==0.31.2 defusedxml==0.7.1 pydeprecate==0.13.0

# Beside a CPU torch the released torchvision cannot load its operators; see the script.
"$VENV/bin/python" benchmarks/peers/standins.py "$HOME_DIR/standins"

# One entry for all scripts: no network, no usage reports, settings in the scratch folder, one thread.
cat > "$HOME_DIR/run" <<'SH'
#!/usr/bin/env bash
here=$(cd "$(dirname "$0")" && pwd)
export YOLO_CONFIG_DIR="$here/config" YOLO_OFFLINE=true YOLO_AUTOINSTALL=false
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export LD_LIBRARY_PATH="$here/standins${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PATH="$here/venv/bin:$PATH"
exec "$here/venv/bin/python" "$@"
SH
chmod +x "$HOME_DIR/run"
mkdir -p "$HOME_DIR/config"

"$HOME_DIR/run" - <<'PY'
from pathlib import Path

import torch
import torchvision
from ultralytics import __version__, settings

scratch = Path(".peers").resolve()
folders = {f"{name}_dir": str(scratch / name) for name in ("datasets", "weights", "runs")}
loggers = dict.fromkeys(("clearml", "comet", "dvc", "mlflow", "raytune"), False)
settings.update({"sync": False, **folders, **loggers})
boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]
print(f"ready: torch {torch.__version__}, torchvision {torchvision.__version__}, ultralytics {__version__}")
PY
