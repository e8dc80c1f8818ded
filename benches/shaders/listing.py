"""What the loops of a compiled shader are made of: `per_multiply_add(path, compiler, number)`."""

import re

# The classes of instructions of each compiler, the first expression that matches counts.
CLASSES = {
    "aco": [("fma", r"v_(dual_)?(pk_)?(fma|mad|mac|mul|add|sub)\w*_f(16|32)|v_fma_mix"), ("wait", r"s_(wait|delay|nop|clause|set_inst|inst_pre)"),
            ("memory", r"ds_|buffer_|global_|flat_|scratch_|s_load|s_buffer"), ("barrier", r"s_barrier"), ("branch", r"s_c?branch"), ("other", r".")],
    "nak": [("fma", r"ffma|fmul|fadd|hfma2|hmul2|hadd2"), ("memory", r"(ld|st)\.|ld[sgc]|st[sg]|ldsm|atom"), ("barrier", r"bar\b|bar\."),
            ("branch", r"bra|bssy|bsync|nop|bclear|warpsync"), ("other", r".")],
    "ir3": [("fma", r"(mad|mul|add)\.f"), ("memory", r"ldl|stl|ldib|stib|ldg|stg|isam|ldc\b|ldp|stp|resinfo"), ("barrier", r"bar|fence"),
            ("branch", r"br|jump|jp|end|nop|pred|getone|shps|shpe"), ("other", r".")],
    "brw": [("fma", r"mad|mac|mul|add"), ("memory", r"send"), ("wait", r"sync|nop"),
            ("branch", r"while|if|else|endif|break|cont|jmpi|goto|join|halt"), ("other", r".")],
    "agx": [("fma", r"h?f(fma|mul|add|ma)|hfma|hmul|hadd"), ("memory", r"l?(load|store)"), ("barrier", r"\w*barrier"),
            ("branch", r"jmp|if|else|while|pop_exec|push_exec|stop|break|nop"), ("other", r".")],
    "pan": [("fma", r"F(MA|ADD|MUL)\.(f32|v2f16)|FMA_RSCALE"), ("memory", r"LOAD|STORE|LD_|LEA|ST_"), ("barrier", r"BARRIER"),
            ("branch", r"BRANCH|NOP|JUMP"), ("other", r".")],
}

# What issues together with another instruction, or takes no issue slot, has the cost 0.
Op = tuple  # (class, label that it jumps back to or None, cost)


def kind(compiler, op):
    return next(name for name, pattern in CLASSES[compiler] if re.match(pattern, op))


def items(compiler, lines):
    """Labels as strings, instructions as `Op`s, in order."""
    return {"aco": aco, "nak": nak, "ir3": ir3, "brw": brw, "agx": agx, "pan": pan}[compiler](lines)


def aco(lines):
    for line in lines:
        if m := re.match(r"(BB\d+):", line):
            yield m[1]
        elif m := re.match(r"\s+([a-z]\w+)\s*(.*?)\s*;", line):
            op = kind("aco", m[1])
            target = re.search(r"BB\d+", m[2])
            yield Op((op, target[0] if op == "branch" and target else None, 1))
            # The second half of a pair.
            yield from (Op((kind("aco", second), None, 0)) for second in re.findall(r"::\s*(v_dual_\w+)", m[2]))


def nak(lines):
    # A block names its predecessors; one that comes later jumps back to it.
    jumps, block = {}, None
    heads = [re.match(r"block(?:\.u)? (\d+) L\d+ \[([\d, ]*)\]", line) for line in lines]
    for m in filter(None, heads):
        for before in filter(str.strip, m[2].split(",")):
            if int(before) >= int(m[1]):
                jumps.setdefault(int(before), []).append(m[1])
    for line, m in zip(lines, heads):
        if m:
            yield from (Op(("branch", head, 0)) for head in jumps.get(block, []))
            block = int(m[1])
            yield m[1]
        elif "=" in line or re.match(r"(@!?\S+)?\s+[a-z]", line):
            text = re.sub(r"^@\S+", "", line).strip()
            text = re.sub(r"^[\w\s\[\].]+=\s*(?=[a-z])", "", text)
            if text and not text.startswith("}"):
                yield Op((kind("nak", text.split()[0]), None, 1))
    yield from (Op(("branch", head, 0)) for head in jumps.get(block, []))


def ir3(lines):
    for line in lines:
        line = re.sub(r"^\s*\d+\s*:", "", line)
        if m := re.match(r"\s*(l\d+):", line):
            yield m[1]
        elif m := re.match(r"\s*((?:\([^)]*\))*)([a-z][\w.]*)\s*(.*)", line):
            op = kind("ir3", m[2])
            target = re.search(r"#(l\d+)", m[3])
            repeated = re.search(r"\(rpt(\d+)\)", m[1])
            for _ in range(1 + int(repeated[1]) if repeated else 1):
                yield Op((op, target[1] if op == "branch" and target else None, 1))


def brw(lines):
    for line in lines:
        if m := re.match(r"(LABEL\d+):", line):
            yield m[1]
        elif m := re.match(r"(?:\([^)]*\)\s*)?([a-z][a-z0-9]*)(?:\.\w+)*\s*\((\d+)\)\s*(.*)", line):
            op = kind("brw", m[1])
            if op == "fma" and not re.match(r"\S+>(F|HF)\b", m[3]):
                op = "other"
            target = re.search(r"JIP:\s*(LABEL\d+)", m[3]) if m[1] == "while" else None
            yield Op((op, target[1] if target else None, 1))


def agx(lines):
    # Jumps have offsets in bytes.
    rows = [(int(m[1], 16), m[2], m[3].strip()) for m in (re.match(r"\s*([0-9a-f]+): [0-9a-f]+\s+(\w+)\s*(.*)", line) for line in lines) if m]
    back = {at: at + int(rest) for at, op, rest in rows if op == "jmp_any" and rest.startswith("-")}
    for at, op, _ in rows:
        if at in back.values():
            yield str(at)
        yield Op((kind("agx", op), str(back[at]) if at in back else None, 1))


def pan(lines):
    # Branches have offsets in instructions.
    rows = [line for line in lines if re.match(r"\s+\*?[A-Z]", line)]
    offsets = {i: re.search(r"BRANCH\S*.*offset:(-\d+)", line) for i, line in enumerate(rows)}
    back = {i: i + 1 + int(m[1]) for i, m in offsets.items() if m}
    for i, line in enumerate(rows):
        if i in back.values():
            yield str(i)
        yield Op((kind("pan", line.split()[0].lstrip("*")), str(back[i]) if i in back else None, 1))


def loops(ops):
    """Of each loop, innermost first: instructions issued and those of each class, without those of loops inside."""
    labels, ends = {}, {}
    for i, op in enumerate(ops):
        if isinstance(op, str):
            labels[op] = i
        elif op[1] in labels:
            ends[labels[op[1]]] = i
    found = sorted(ends.items(), key=lambda loop: loop[1] - loop[0])
    for number, (first, last) in enumerate(found):
        inner = [loop for loop in found[:number] if first <= loop[0] and loop[1] <= last]
        own = [ops[i] for i in range(first, last + 1) if not isinstance(ops[i], str) and not any(a <= i <= b for a, b in inner)]
        counts = {}
        for op in own:
            counts[op[0]] = counts.get(op[0], 0) + 1
        yield {"first": first, "last": last, "issued": sum(op[2] for op in own), **counts}


def per_multiply_add_of_attention(path, compiler, number):
    """The same for attention, whose main loop makes half of the multiply-adds with keys and half with values, each in a loop
    of its own or unrolled. Branches for the places of rows are all counted, though one of three runs."""
    found = list(loops(list(items(compiler, path.read_text(errors="replace").splitlines()))))
    made = lambda loop: loop.get("fma", 0)
    around = lambda outer, loop: outer["first"] < loop["first"] and loop["last"] <= outer["last"]
    multiply = lambda loop: min(number // 2, 1 << max(0, made(loop).bit_length() - 1))
    many = [loop for loop in found if made(loop) >= 56]
    many = sorted((loop for loop in many if not any(around(loop, other) for other in many)), key=lambda loop: loop["first"])
    main = max((loop for loop in found if any(around(loop, other) for other in found)), key=lambda loop: loop["last"] - loop["first"], default=None)
    if main is None or not many:
        return None
    # Values are last; if there is one loop only, they are unrolled in the main loop.
    keys, values = (many[:-1], many[-1:]) if len(many) > 1 else (many, [])
    turns = [(loop, number / 2 / multiply(loop) / len(half)) for half in (keys, values) for loop in half]
    # What is done with the scores is done for half of a tile's rows at a time.
    turns += [(loop, 2) for loop in found if around(main, loop) and loop not in many and made(loop) >= 9]
    turns.append((main, 1))
    return tuple(sum(weight * loop.get(key, 0) for loop, weight in turns) / number for key in ("issued", "memory"))


def per_multiply_add(path, compiler, number):
    """Instructions issued, and those that access memory, for each of the `number` multiply-adds of an invocation in one turn of
    the main loop. A loop inside is counted as often as it takes to make them."""
    found = list(loops(list(items(compiler, path.read_text(errors="replace").splitlines()))))
    made = lambda loop: loop.get("fma", 0)
    around = lambda outer, loop: outer["first"] < loop["first"] and loop["last"] <= outer["last"]
    # A product from tiles has barriers in its main loop, and most of its multiply-adds in a loop inside, unless that is unrolled.
    outer = [loop for loop in found if loop.get("barrier")] or [loop for loop in found if any(around(loop, other) for other in found)]
    main = max(outer or found, key=made, default=None)
    if main is None:
        return None
    counts = {key: main.get(key, 0) for key in ("issued", "memory")}
    rest = [loop for loop in found if loop is not main]
    if made(main) < 0.7 * number and rest:
        inner = max(rest, key=made)
        inside = around(main, inner)
        # A compiler may have moved the first turn of the inner loop out of it.
        turns = number / (1 << max(0, made(inner).bit_length() - 1)) - (0 if inside else 1)
        alone = not inside and made(inner) >= 0.7 * number
        counts = {key: inner.get(key, 0) if alone else value + turns * inner.get(key, 0) for key, value in counts.items()}
    return counts["issued"] / number, counts["memory"] / number
