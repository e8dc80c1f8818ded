#!/usr/bin/env bash
# Prepares the data of the study: study/scan/prepare.sh SOURCES DATA
#
# SOURCES holds stories.jsonl.xz, dialogue.jsonl.xz and books.jsonl.xz; DATA gets a tokenizer and the packed sources.
set -euo pipefail
sources=$1 data=$2
mkdir -p "$data"
attamba-train tokenizer "$sources"/{stories,dialogue,books}.jsonl.xz --megabytes 15 --out "$data/tokenizer.json"

# pack NAME HELD_OUT ATTRIBUTION...
pack() {
    local name=$1 held_out=$2
    shift 2
    attamba-train pack "$sources/$name.jsonl.xz" --tokenizer "$data/tokenizer.json" --out "$data" --name "$name" \
        --held-out "$held_out" "${@/#/--attribution=}"
}

pack stories 0.05 'Fairy tales from uci-soe/FairytaleQAData, Apache-2.0' \
    "Children's stories from global-asp/pb-source and global-asp/asp-source, CC BY 4.0"
pack dialogue 0.02 'Task dialogues from google-research-datasets/dstc8-schema-guided-dialogue, CC BY-SA 4.0' \
    'Taskmaster TM-4, CC BY 4.0' 'Topical-Chat (alexa/Topical-Chat), CDLA-Sharing-1.0' \
    'Worked word problems from openai/grade-school-math, MIT'
pack books 0.03 'Books in the public domain (mlschmitt/classic-books-markdown)'
