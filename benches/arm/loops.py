"""The inner loops of the compiled arm64 products of integers: calls in them, and accesses to the stack.

There must be no calls, and what a loop keeps on the stack did not fit the registers.
"""

import re
import subprocess
from pathlib import Path

SETS = ["neon", "neon_dotprod", "neon_i8mm"]
ROUNDINGS = ["products", "int8"]
KERNELS = ["matvec", "matmul"]

# A mangled name: each part after its length, a hash at the end. Tiles that are functions of their own, one for each
# format and rounding, count as one kernel.
KERNEL = rf"({'|'.join(SETS)})\d+({'|'.join(ROUNDINGS)})\d+({'|'.join(KERNELS)})|matmul_neon\d+(tile_alone)"
FUNCTION = re.compile(rf"^[0-9a-f]+ <[^>]*kernels\d+(?:{KERNEL})17h[^>]*>:$")
PRODUCT = re.compile(r"\t(sdot|smmla|smlal2?)\tv")
JUMP = re.compile(r"\t(?:b\.\w+|cbn?z|tbn?z|b)\s.*?\b([0-9a-f]+) <")


def functions(program: Path) -> dict[str, list[str]]:
    """The instructions of each kernel, by instruction set and name."""
    command = ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", program]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for part in text.split("\n\n"):
        head, _, body = part.strip().partition("\n")
        named = FUNCTION.match(head)
        if named:
            rounding = " int8" if named[2] == "int8" else ""
            name = "neon_dotprod tiles" if named[4] else f"{named[1]} {named[3]}{rounding}"
            # objdump writes dots for zeros between functions.
            found.setdefault(name, []).extend(line for line in body.split("\n") if ":" in line)
    return found


def inner_loops(lines: list[str]) -> list[list[str]]:
    """What lies between the target of a jump backwards and the jump, unless it contains another such part."""
    at = {int(line.split(":")[0], 16): i for i, line in enumerate(lines)}
    loops = []
    for end, line in enumerate(lines):
        jump = JUMP.search(line)
        start = jump and at.get(int(jump[1], 16))
        if start is not None and start < end:
            loops.append((start, end))
    holds = lambda a, b: a != b and a[0] <= b[0] and b[1] <= a[1]  # noqa: E731
    return [lines[a[0] : a[1] + 1] for a in loops if not any(holds(a, b) for b in loops)]


def report(program: Path) -> dict[str, tuple[int, int]]:
    """For the loops of each kernel that compute products: calls in them, and the most stack accesses of one."""
    result = {}
    for name, lines in sorted(functions(program).items()):
        loops = [loop for loop in inner_loops(lines) if sum(bool(PRODUCT.search(line)) for line in loop) >= 8]
        if not loops:
            continue
        calls = sum(bool(re.search(r"\tblr?\t", line)) for loop in loops for line in loop)
        result[name] = (calls, max(sum("[sp" in line for line in loop) for loop in loops))
    return result
