#!/usr/bin/env bash
# Prepares the data of the bundled model: bundled/prepare.sh DATA [TOKENIZER]
#
# Composes 90,000 conversations, about 28 million tokens, and packs them as DATA/conversations. If there is a file
# DATA/taught.jsonl, a teacher's answers (prompts.py), what is good of it is added. With TOKENIZER, the tokenizer of a model
# that training continues from (`attamba-train extract-tokenizer`), none is trained.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=$1
mkdir -p "$data"

taught=()
if [ -e "$data/taught.jsonl" ]; then
    taught=(--taught "$data/taught.jsonl")
fi
python3 "$here/compose.py" --count 90000 --seed 1 ${taught[@]+"${taught[@]}"} --out "$data/conversations.jsonl"
if [ $# -gt 1 ]; then
    cp "$2" "$data/tokenizer.json"
else
    attamba-train tokenizer "$data/conversations.jsonl" --vocab-size 4096 --megabytes 30 --out "$data/tokenizer.json"
fi
attamba-train pack "$data/conversations.jsonl" --tokenizer "$data/tokenizer.json" --out "$data" --name conversations \
    --held-out 0.02 --attribution "Stories and talk written for this model (training/bundled)"
