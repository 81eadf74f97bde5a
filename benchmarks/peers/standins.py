"""Stand-in libraries that let torchvision's compiled CPU operators load beside a torch without CUDA.

The only torchvision release that matches the pinned torch is a CUDA build: its extension names libcudart,
libc10_cuda and libtorch_cuda and does not load without them, although the CPU operators call nothing in them. This
script makes three small libraries of those names: every symbol that nobody else defines becomes a function that
returns the address of a zeroed buffer. Put their folder on LD_LIBRARY_PATH (`.peers/run` does). It does nothing
where torchvision loads already.

    python benchmarks/peers/standins.py .peers/standins
"""

from __future__ import annotations

import argparse
import ctypes.util
import subprocess
import sys
import sysconfig
from pathlib import Path

CUDART = "libcudart.so.13"
EMPTY = ("libc10_cuda.so", "libtorch_cuda.so")
SYSTEM = ("libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2")


def symbols(library: str, *options: str) -> set[str]:
    """Names of the dynamic symbols of a library, without versions; weak undefined ones left out."""
    lines = subprocess.run(["nm", "-D", *options, library], check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in lines.splitlines())
    return {row[-1].split("@")[0] for row in rows if len(row) >= 2 and row[-2] not in ("w", "v")}


def locate(name: str) -> str | None:
    """Where the dynamic loader finds a system library."""
    found = subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    path = found.stdout.strip()
    return path if path != name else ctypes.util.find_library(name)


def missing(packages: Path) -> list[str]:
    """The symbols of torchvision's extension that neither torch nor the system defines."""
    wanted = symbols(str(packages / "torchvision" / "_C.so"), "--undefined-only")
    torch_libraries = [str(path) for path in sorted((packages / "torch" / "lib").glob("*.so*"))]
    system = [path for path in map(locate, SYSTEM) if path]
    for library in torch_libraries + system:
        wanted -= symbols(library, "--defined-only")
    return sorted(wanted)


def compile_library(folder: Path, name: str, source: str, *options: str) -> None:
    text = folder / f"{name}.c"
    text.write_text(source)
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", *options, "-o", str(folder / name), str(text)]
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True).returncode == 0:
        print("torchvision loads without stand-ins")
        return
    names = missing(Path(sysconfig.get_paths()["purelib"]))
    functions = "\n".join(f"void *{name}(void) {{ return buffer; }}" for name in names)
    version = folder / "cudart.map"
    version.write_text(f"{CUDART} {{ global: *; }};\n")
    compile_library(
        folder, CUDART, f"static char buffer[65536];\n{functions}\n", "-w", f"-Wl,--version-script={version}"
    )
    for name in EMPTY:
        compile_library(folder, name, "")
    print(f"{len(names)} symbols stand in for CUDA's in {folder}")


if __name__ == "__main__":
    main()
