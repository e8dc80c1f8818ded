#!/usr/bin/env python3
"""llama.cpp's products by the same compilers as table.py, next to ours: instructions a multiply-add of the main loop.

    benches/peers/setup.sh                        # once: brings llama.cpp's source
    benches/shaders/setup.sh                      # once, as root
    cargo test --test shaders                     # writes our shaders
    benches/shaders/peer.py [--targets A,B]

Its product of a block of tokens multiplies halves in tiles of 64 by 64 or 128 by 128 and adds in single precision, on matrix
units where the target has them; its product of one token is that of two rows in single precision. Both for activations
in single precision. Tiles and rows are those that it takes for GPUs that it has no special case for.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import listing
import table

sys.path.append(str(table.TOP / "benches/peers"))
import paths  # noqa: E402

SHADERS = paths.SOURCE / "vendor/llama.cpp/ggml/src/ggml-vulkan/vulkan-shaders"
# Its numbers of types.
TYPES = {"q4_0": 2, "q8_0": 8, "q4_k": 12}
# Lanes of a subgroup as its drivers report them.
LANES = {"amd-680m": 64, "amd-780m": 64, "intel-tgl": 32, "adreno-750": 64, "apple-m1": 32, "nvidia-ampere": 32, "mali-g610": 16}
# Sides of the matrices that a target's units multiply.
UNITS = {"amd-780m": 16, "nvidia-ampere": 16}
HALVES = {"FLOAT16": 1, "FLOAT_TYPE": "float16_t", "FLOAT_TYPEV2": "f16vec2", "FLOAT_TYPEV4": "f16vec4", "FLOAT_TYPEV8": "f16mat2x4"}
SINGLE = {"FLOAT_TYPE": "float", "FLOAT_TYPEV2": "vec2"}
SUMS = {"ACC_TYPE": "float", "ACC_TYPEV2": "vec2", "ACC_TYPE_VEC4": "vec4"}
BLOCK = {"MULMAT_QUANT": 1, "LOAD_VEC_B": 8, "B_TYPE": "mat2x4", "B_TYPE_SCALAR": "float", "B_TYPEV4": "vec4", "D_TYPE": "float"}
TOKEN = {"B_TYPE": "float", "B_TYPEV2": "vec2", "B_TYPEV4": "vec4", "D_TYPE": "float", "USE_SUBGROUP_ADD_NO_SHMEM": 1}
ROWS = 2


def compile_shader(source, defines, constants, name):
    """SPIR-V of llama.cpp's `source` in the folder of table.py, with these constants as defaults."""
    folder = table.ROOT / "w/peer"
    inside = lambda *command: subprocess.run(["chroot", table.ROOT, *map(str, command)], check=True)  # noqa: E731
    optimize = [] if "COOPMAT" in defines else ["-O"]
    flags = [f"-D{key}={value}" for key, value in defines.items()]
    inside("glslc", "-fshader-stage=compute", "--target-env=vulkan1.2", *optimize, *flags, "-o", "/w/peer.spv", f"/w/{folder.name}/{source}")
    values = " ".join(f"{key}:{value}" for key, value in constants.items())
    inside("spirv-opt", f"--set-spec-const-default-value={values}", "-o", f"/w/spirv/{name}.spv", "/w/peer.spv")


def products(target):
    """llama.cpp's pipelines for `target`: rows as table.py takes them, with their multiply-adds."""
    lanes = LANES[target]
    units = UNITS.get(target)
    for form, number in TYPES.items():
        for tile in (64, 128):
            threads, k, columns = 128, 32, 32 if tile == 64 else 64
            m = min(lanes, 64) * (1 if tile == 64 else 2)
            of_unit = (units, units, units) if units else (4, 2 if tile == 64 else 4, 1)
            sizes = (threads, tile, tile, k, m, columns, 2, *of_unit, lanes, 1, number)
            defines = HALVES | SUMS | BLOCK | ({"COOPMAT": 1} if units else {})
            name = f"peer-{target}-block-{form}-{tile}"
            compile_shader("mul_mm.comp", defines, dict(enumerate(sizes)), name)
            yield {"file": name, "bindings": "sss", "name": f"{form}, {tile} by {tile}", "multiply-adds": tile * tile * k // threads}
        if not form.endswith("_k"):
            name = f"peer-{target}-token-{form}"
            compile_shader("mul_mat_vec.comp", SINGLE | TOKEN | {f"DATA_A_{form.upper()}": 1}, {0: lanes, 1: ROWS, 2: 1}, name)
            yield {"file": name, "bindings": "sssss", "name": f"{form}, a token", "multiply-adds": 4 * 8 * ROWS}


def issued(path, compiler, number):
    """Of the loop with the most multiply-adds: everything inside is unrolled."""
    found = listing.loops(list(listing.items(compiler, path.read_text(errors="replace").splitlines())))
    main = max(found, key=lambda loop: loop.get("fma", 0), default=None)
    return round(main["issued"] / number, 2) if main else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # Mali's compiler, emulated, takes an hour.
    parser.add_argument("--targets", default=",".join(target for target in table.TARGETS if target != "mali-g610"))
    args = parser.parse_args()
    if not SHADERS.is_dir():
        sys.exit(f"{SHADERS} is not there; benches/peers/setup.sh brings it.")
    subprocess.run(["cp", "-rT", SHADERS, table.ROOT / "w/peer"], check=True)
    for target in args.targets.split(","):
        compiler = table.TARGETS[target][2]
        rows = list(products(target))
        stats, dump = table.compiled(target, rows)
        print(f"\n### {target}, llama.cpp\n\n| product | instructions a multiply-add | registers | spills | instructions |\n|---|--:|--:|--:|--:|")
        for row in rows:
            about = table.statistics(target, stats.get(row["file"]))
            if about is None:
                print(f"| {row['name']} | does not compile | | | |")
                continue
            text = next(dump.glob(f"{row['file']}.*ssembly"), None)
            per = issued(text, compiler, row["multiply-adds"]) if text else ""
            print(f"| {row['name']} | {per} | {about['registers']} | {about['spills']} | {about['instructions']} |")


if __name__ == "__main__":
    main()
