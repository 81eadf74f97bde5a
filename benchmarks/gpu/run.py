"""Runs one job of the queue and keeps its result with the device's name.

    python -m benchmarks.gpu.run --list
    python -m benchmarks.gpu.run hit-uav-n --data FOLDER [--limit 9] [--device auto] [--tiny] [-- MORE]

FOLDER is where the job's data set lies; it is copied to `.data/` once (ignored by git), later calls need no --data.
A job that does not finish within --limit minutes is interrupted after its last finished epoch and goes on from there
when the same command is given again (exit code 3); what it keeps lies in `.data/gpu/JOB`, so that folder has to come
along when the next call happens on another machine. The result is `benchmarks/gpu/results/JOB.json`: the job's own
result, device, command, versions, and the time of each call. --tiny proves on a CPU that the job works; its result
goes to `.data/gpu` instead. Words after `--` are added to the job's command (`-- --sides finespot`). Jobs that compare
with a peer run in the peer environment where benchmarks/peers/setup.sh has made it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
UNFINISHED = 3


def read_queue() -> dict[str, dict[str, Any]]:
    """The jobs by name."""
    jobs = yaml.safe_load((ROOT / "benchmarks" / "gpu" / "queue.yaml").read_text())
    return {job["name"]: job for job in jobs}


def bring_data(name: str, given: Path | None, store: Path) -> Path:
    """The data set's folder inside the repository, copied there on the first call."""
    copy = store / name
    if copy.is_dir():
        return copy
    if given is None or not given.is_dir():
        raise SystemExit(f"this job needs the data set '{name}': give its folder with --data")
    partial = copy.with_name(f"{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(given, partial)
    partial.rename(copy)
    return copy


def device_name(device: str) -> str:
    """What the job ran on, in the device's own words."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    sys.path.insert(0, str(ROOT))
    from benchmarks.report import machine

    return f"CPU: {machine()['cpu']}"


def run_command(words: list[str], minutes: float, peers: bool) -> int:
    """Exit code of a job's process; at the limit it is interrupted and the answer is `UNFINISHED`."""
    entry = ROOT / ".peers" / "run"
    python = str(entry) if peers and entry.exists() else sys.executable
    child = subprocess.Popen([python, "-m", *words], cwd=ROOT, start_new_session=True)
    try:
        return child.wait(timeout=60 * minutes)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # The whole group: loader processes too, as a terminal's Ctrl-C would.
        os.killpg(child.pid, signal.SIGINT)
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return UNFINISHED


def run_job(job: dict[str, Any], options: argparse.Namespace) -> int:
    store = ROOT / ".data"
    work = store / "gpu" / (job["name"] + ("-tiny" if options.tiny else ""))
    work.mkdir(parents=True, exist_ok=True)
    report = work / "result.json"
    places = {"work": work, "json": report}
    if job["data"]:
        places["data"] = bring_data(job["data"], options.data, store)
    fillings = {name: str(path.relative_to(ROOT)) for name, path in places.items()}
    words = shlex.split(job["command"].format(**fillings, device=options.device))
    words += (shlex.split(job["tiny"]) if options.tiny else []) + options.more
    start = time.time()
    code = run_command(words, options.limit, job["peers"])
    clock = work / "minutes.json"
    calls = [*(json.loads(clock.read_text()) if clock.exists() else []), round((time.time() - start) / 60, 2)]
    clock.write_text(json.dumps(calls))
    if code == UNFINISHED:
        print(f"{job['name']}: not finished after {sum(calls):.1f} minutes in {len(calls)} calls; call again to go on")
        return code
    if code:
        print(f"{job['name']}: failed with exit code {code}")
        return code
    folder = work if options.tiny else options.results
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job['name']}.json"
    result = {
        "job": job["name"],
        "answers": job["answers"],
        "device": device_name(options.device),
        "command": "python -m " + shlex.join(words),
        "minutes": calls,
        "result": json.loads(report.read_text()),
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    clock.unlink()
    print(f"{job['name']}: done in {sum(calls):.1f} minutes; written: {path}")
    return 0


def main() -> None:
    queue = read_queue()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", nargs="?", choices=list(queue), metavar="JOB", help=", ".join(queue))
    parser.add_argument("--list", action="store_true", help="what is in the queue")
    parser.add_argument("--data", type=Path, help="folder of the data set, copied to .data/ on the first call")
    parser.add_argument("--limit", type=float, default=9, help="minutes after which the job is interrupted (9)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="smallest settings: show that the job works")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "gpu" / "results")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:cut])
    options.more = words[cut + 1 :]
    if options.list or not options.job:
        for job in queue.values():
            print(f"{job['name']} ({job['minutes']} minutes, data: {job['data'] or 'none'}): {job['answers']}")
        return
    sys.exit(run_job(queue[options.job], options))


if __name__ == "__main__":
    main()
