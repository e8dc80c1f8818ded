#!/usr/bin/env python3
"""What the compilers of real GPUs make of the kernels, on a machine without a GPU: see docs/gpu-tuning.md.

    benches/shaders/setup.sh                      # once, as root
    cargo test --test shaders                     # writes the shaders
    benches/shaders/table.py                      # kernels x targets
    benches/shaders/table.py --check              # nothing beyond limits.json

--only EXPRESSION and --targets A,B select; --write-limits records what was found.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import listing

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
ROOT = pathlib.Path(os.environ.get("ATTAMBA_SHADERS_ROOT", TOP / "target/shaders-root"))
SHADERS = TOP / "target/tmp/spirv"
LIMITS = HERE / "limits.json"

# Driver and shim of Mesa, the compiler, how it calls registers, spills and waves, and what tells the shim which GPU to be.
AMD = ("radeon", "amdgpu", "aco", "VGPRs", "Spilled VGPRs", "Subgroups per SIMD")
TARGETS = {
    "amd-680m": (*AMD, {"AMDGPU_GPU_ID": "rembrandt"}),
    "amd-780m": (*AMD, {"AMDGPU_GPU_ID": "phoenix"}),
    "intel-tgl": ("intel", "intel", "brw", "Max live registers", "Spills", "Max dispatch width", {"INTEL_STUB_GPU_PLATFORM": "tgl"}),
    "adreno-750": ("freedreno", "freedreno", "ir3", "Registers used", "STP Count", "Max Waves Per Core", {"FD_GPU_ID": "750"}),
    "apple-m1": ("asahi", "asahi", "agx", "GPRs", "Spills", "Threads", {"AGX_MESA_DEBUG": "shaders", "VKSTATS_NOT_ROBUST": "1"}),
    "nvidia-ampere": ("nouveau", "nouveau", "nak", "Number of GPRs", "Spills to memory", "Max warps/SM",
                      {"NOUVEAU_CHIPSET": "0x174", "NVK_I_WANT_A_BROKEN_VULKAN_DRIVER": "1"}),
    "mali-g610": ("panfrost", "panfrost", "pan", "Registers used", "Spills", "Threads", {"PAN_GPU_ID": "a867", "PAN_I_WANT_A_BROKEN_VULKAN_DRIVER": "1"}),
}
# Multiply-adds of an invocation in one turn of a kernel's main loop.
MULTIPLY_ADDS = {"matmul": 1024, "matmul_small": 512, "matvec": 64}
# The same of attention to heads of 64 values.
OF_ATTENTION = {"attend": 1024, "attend_tile": 2048}
# Of variants for matrix units, those that a target takes, and their multiply-adds of an invocation in one turn.
COOPERATIVE = {"amd-780m": ({"matrices_16", "lanes_64"}, 512), "nvidia-ampere": ({"matrices_16", "lanes_32"}, 1024)}
# Variants that a target would not choose and whose compilation takes minutes.
LEFT_OUT = {"mali-g610": r"^matmul |reduce_subgroup|attend"}
# What the table is about unless --only says otherwise.
USUAL = r"^(?!.*(half_bits|reduce_none|matmul_alone|_native|NORM [12]|FINISH [1-9]))"


def compiled(target, rows):
    """Statistics by name; the listings are in `dump`."""
    icd, shim, compiler, *_, env = TARGETS[target]
    emulated = compiler == "pan"
    lib = "/usr/lib/aarch64-linux-gnu" if emulated else "/usr/lib/x86_64-linux-gnu"
    preload = "/w/libintel_noop_drm_shim.so" if shim == "intel" else f"{lib}/lib{shim}_noop_drm_shim.so"
    env = {"VK_DRIVER_FILES": f"/usr/share/vulkan/icd.d/{icd}_icd.json", "LD_PRELOAD": preload, "MESA_SHADER_CACHE_DISABLE": "true", **env}
    dump = ROOT / "w/dump"
    shutil.rmtree(dump, ignore_errors=True)
    dump.mkdir()
    if emulated:
        command = ["qemu-aarch64", *(word for k, v in env.items() for word in ("-E", f"{k}={v}")), "./vkstats-arm64"]
    else:
        command = ["env", *(f"{k}={v}" for k, v in env.items()), "./vkstats"]
    lines = "".join(f"{row['file']}\t/w/spirv/{row['file']}.spv\t{row['bindings']}\n" for row in rows)
    command = ["nice", "chroot", ROOT, "sh", "-c", 'cd /w && exec "$@"', "sh", *command]
    run = subprocess.run(command, input=lines, capture_output=True, text=True, errors="replace", check=False)
    if run.returncode:
        print(f"{target}: exit {run.returncode}\n{run.stderr[-2000:]}", file=sys.stderr)
    found = {}
    for part in run.stdout.split("@@ ")[1:]:
        name, _, text = part.partition("\n")
        if m := re.search(r"^=> \S+\t(.*)$", text, re.MULTILINE):
            found[name] = json.loads(m[1])
        if compiler == "agx":
            # The first listing with addresses is the shader, the second its preamble.
            code = [line for line in text.splitlines() if re.match(r"\s*[0-9a-f]+: [0-9a-f]+\s", line)]
            end = next((i for i, line in enumerate(code) if line.split()[2] == "stop"), len(code))
            (dump / f"{name}.AGX_assembly").write_text("\n".join(code[: end + 1]))
    return found, dump


def statistics(target, stats):
    """What a driver tells of a pipeline, under our names; none if it refused it."""
    if stats is None or "refused" in stats:
        return None
    _, _, _, registers, spills, waves, _ = TARGETS[target]
    return {
        "instructions": next((stats[k] for k in ("Instructions", "Instruction count", "Instruction Count") if k in stats), None),
        "registers": stats.get(registers),
        "spills": stats.get(spills, 0),
        "waves": stats.get(waves),
    }


def measured(target, rows):
    """For each row: instructions and memory accesses a multiply-add where the kernel is a product, registers, spills, waves."""
    rows = [row for row in rows if not re.search(LEFT_OUT.get(target, "$^"), row["name"])]
    cooperative, per_turn = COOPERATIVE.get(target, ({"none"}, 0))
    rows = [row for row in rows if not row["name"].startswith("matmul_cooperative") or cooperative <= set(re.split("[ ,]", row["name"]))]
    compiler = TARGETS[target][2]
    found, dump = compiled(target, rows)
    out = {}
    for row in rows:
        entry = statistics(target, found.get(row["file"]))
        if entry is None:
            print(f"{target}: {row['name']} does not compile", file=sys.stderr)
            continue
        number = {**MULTIPLY_ADDS, "matmul_cooperative": per_turn}.get(row["name"].split()[0])
        texts = list(dump.glob(f"{row['file']}.*ssembly"))
        per = listing.per_multiply_add
        if re.match(r"attend .* heads_4 .*HEAD_DIM 64,|attend_tile .*HEAD_DIM 64,", row["name"]) and compiler != "nak":
            number, per = OF_ATTENTION[row["name"].split()[0]], listing.per_multiply_add_of_attention
        if number and texts and (each := per(texts[0], compiler, number)):
            entry["per multiply-add"], entry["memory per multiply-add"] = (round(value, 3) for value in each)
        out[row["name"]] = entry
    return out


def beyond(limits, found):
    """What exceeds its limit: instructions by more than one in a hundred, spills at all."""
    for target, entries in found.items():
        for name, entry in entries.items():
            limit = limits.get(name, {}).get(target, {})
            for what in ("per multiply-add", "instructions", "spills"):
                if what in limit and entry.get(what, 0) > limit[what] * 1.01:
                    yield f"{target}: {name}: {what} {entry[what]}, the limit is {limit[what]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--only", help="names that match (default: usual variants; with --check all that have limits)")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write-limits", action="store_true")
    args = parser.parse_args()
    rows = [dict(zip(("file", "bindings", "name"), line.split("\t"))) for line in (SHADERS / "index.tsv").read_text().splitlines()]
    limits = json.loads(LIMITS.read_text()) if LIMITS.exists() else {}
    only = args.only or ("" if args.check else USUAL)
    rows = [row for row in rows if re.search(only, row["name"]) and (row["name"] in limits or not args.check)]
    shutil.copytree(SHADERS, ROOT / "w/spirv", dirs_exist_ok=True)
    found = {}
    for target in args.targets.split(","):
        own = [row for row in rows if not args.check or target in limits[row["name"]]]
        found[target] = measured(target, own)
    for target, entries in found.items():
        print(f"\n### {target}\n\n| kernel | instructions a multiply-add | memory | registers | spills | waves | instructions |\n|---|--:|--:|--:|--:|--:|--:|")
        for name, e in entries.items():
            each = [e.get("per multiply-add", ""), e.get("memory per multiply-add", "")]
            print(f"| {name} | {each[0]} | {each[1]} | {e['registers']} | {e['spills']} | {e['waves']} | {e['instructions']} |")
    if args.write_limits:
        for target, entries in found.items():
            for name, e in entries.items():
                kept = {what: e[what] for what in ("per multiply-add", "instructions", "spills") if what in e}
                limits.setdefault(name, {})[target] = kept
        lines = (f" {json.dumps(name)}: {json.dumps(limits[name])}" for name in sorted(limits))
        LIMITS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    if args.check:
        problems = list(beyond(limits, found))
        print("\n".join(problems) or "nothing beyond its limit", file=sys.stderr)
        sys.exit(bool(problems))


if __name__ == "__main__":
    main()
