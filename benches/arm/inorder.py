#!/usr/bin/env python3
"""What the order of instructions in the arm64 products costs a core that executes them in order (Cortex-A55, A53).

    python3 benches/arm/inorder.py [CPU...]        llvm-mca's names; default: cortex-a55

For each inner loop that computes products: cycles by llvm-mca with all loads in the first cache, as the compiler has
ordered the instructions, and as a list scheduler orders them that knows latencies and keeps the registers. The
difference is what another order could still gain. Needs llvm, and what count.py needs, which builds the program.
LLVM_MCA names the program, such as llvm-mca-22, which has models of its own for a Cortex-A510 and a Neoverse N1.
"""

import os
import re
import subprocess
import sys

import count
import loops

ITERATIONS = 100
JUMP = re.compile(r"(b\.|cbn?z|tbn?z|b\s)")
REGISTER = re.compile(r"\b([vqdshbxw])(\d+)\b|\b(sp)\b")
# They read their first operand too.
ACCUMULATING = ("sdot", "smmla", "fmla", "fmls", "mla", "smlal", "sri", "ins", "bfi", "movk")


def body(loop: list[str]) -> list[str]:
    """A loop's instructions without addresses, comments and jumps."""
    plain = [line.split(":", 1)[1].split("//")[0].strip() for line in loop]
    return [line for line in plain if not JUMP.match(line)]


def operands(line: str) -> tuple[str, set[str], set[str]]:
    """The mnemonic, what is written and what is read."""
    name, _, rest = line.partition("\t")
    used = ["sp" if sp else ("x" if kind in "xw" else "v") + number for kind, number, sp in REGISTER.findall(rest)]
    lane = re.match(r"v\d+\.[bhsd]\[", rest.lstrip("{ "))
    if name.startswith(("st", "prfm")):
        written, read = set(), set(used)
    elif name.startswith("ldp"):
        written, read = set(used[:2]), set(used[2:])
    elif name.startswith(("cmp", "cmn", "tst")):
        written, read = {"flags"}, set(used)
    else:
        written, read = set(used[:1]), set(used[1:])
        if name.startswith(ACCUMULATING) or lane or name == "ld1" and "[" in rest.split("}")[1][:2]:
            read |= written
        if name in ("subs", "adds", "ands"):
            written.add("flags")
        if name.startswith(("cs", "ccmp")):
            read.add("flags")
    updated = re.search(r"\[(x\d+|sp)[^\]]*\](!|, )", rest)
    if updated:
        written.add(updated[1])
    return name, written, read


def latency(name: str) -> int:
    vector = ("sdot", "smmla", "fmla", "fmls", "fmul", "mla", "mul", "scvtf", "ucvtf", "fcvt", "smlal")
    return 4 if name.startswith(("ld", *vector)) else 2


def reordered(lines: list[str]) -> list[str]:
    """By the length of the chain that waits for each instruction; two a cycle, one to memory, one of vectors."""
    parsed = [operands(line) for line in lines]
    after: list[dict[int, int]] = [{} for _ in lines]
    waiting = [0] * len(lines)
    for j, (name, written, read) in enumerate(parsed):
        for i, (other, its_written, its_read) in enumerate(parsed[:j]):
            stores = other.startswith("st"), name.startswith("st")
            gaps = [latency(other)] * bool(its_written & read) + [1] * bool(its_written & written)
            gaps += [0] * bool(its_read & written)
            if any(stores) and all(n.startswith(("st", "ld")) for n in (other, name)):
                gaps.append(int(stores[0]))
            if gaps:
                after[i][j] = max(gaps)
                waiting[j] += 1
    chain = [0] * len(lines)
    for i in reversed(range(len(lines))):
        chain[i] = max([gap + chain[j] for j, gap in after[i].items()], default=latency(parsed[i][0]))
    earliest, order, cycle = [0] * len(lines), [], 0
    ready = {i for i, count_ in enumerate(waiting) if not count_}
    while len(order) < len(lines):
        busy: set[str] = set()
        for _ in range(2):
            for i in sorted((i for i in ready if earliest[i] <= cycle), key=lambda i: (-chain[i], i)):
                memory = parsed[i][0].startswith(("ld", "st", "prfm"))
                unit = "memory" if memory else "vector" if re.search(r"\b[vqdsh]\d", lines[i]) else ""
                if unit and unit in busy:
                    continue
                busy.add(unit)
                ready.remove(i)
                order.append(lines[i])
                for j, gap in after[i].items():
                    waiting[j] -= 1
                    earliest[j] = max(earliest[j], cycle + gap)
                    if not waiting[j]:
                        ready.add(j)
                break
        cycle += 1
    return order


def cycles(lines: list[str], cpu: str) -> float:
    program = os.environ.get("LLVM_MCA", "llvm-mca")
    command = [program, "-mtriple=aarch64", f"-mcpu={cpu}", "-mattr=+dotprod,+i8mm", f"-iterations={ITERATIONS}"]
    run = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    return int(re.search(r"Total Cycles:\s+(\d+)", run.stdout)[1]) / ITERATIONS


def main() -> None:
    count.build()
    functions = loops.functions(count.PROGRAM)
    print("| kernel | core | instructions | products | cycles | reordered |\n|---|---|--:|--:|--:|--:|")
    for name, lines in sorted(functions.items()):
        seen = set()
        for loop in map(body, loops.inner_loops(lines)):
            products = sum(bool(loops.PRODUCT.search(f"\t{line}")) for line in loop)
            shape = tuple(line.split("\t")[0] for line in loop)
            if products < 8 or shape in seen:
                continue
            seen.add(shape)
            for cpu in sys.argv[1:] or ["cortex-a55"]:
                own, other = cycles(loop, cpu), cycles(reordered(loop), cpu)
                print(f"| {name} | {cpu} | {len(loop)} | {products} | {own:.0f} | {other:.0f} ({own / other - 1:+.0%}) |")


if __name__ == "__main__":
    main()
