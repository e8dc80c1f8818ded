#!/usr/bin/env bash
# Prepares the data of a distillation: distilled/prepare.sh SOURCES DATA BASE
#
# SOURCES holds stories.jsonl.xz, dialogue.jsonl.xz and books.jsonl.xz. DATA gets the tokenizer of BASE, a llama GGUF
# file with a ChatML template, and the packed sources books, dialogue, stories, memories, far and answers. The answers
# are the base's own; they take an hour and a half on one core, and need the runtime, set in ATTAMBA or as built here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sources=$1 data=$2 base=$3
attamba=${ATTAMBA:-$here/../../target/release/attamba}
mkdir -p "$data"

attamba-train extract-tokenizer "$base" --out "$data/tokenizer.json"
python3 "$here/memories.py" --books "$sources/books.jsonl.xz" --out "$data/memories.jsonl" --documents 9000
python3 "$here/memories.py" --books "$sources/books.jsonl.xz" --out "$data/far.jsonl" --documents 3000 --far
python3 "$here/answers.py" --attamba "$attamba" --model "$base" --books "$sources/books.jsonl.xz" \
    --out "$data/answers.jsonl"

# pack FILE NAME HELD_OUT ATTRIBUTION...
pack() {
    local file=$1 name=$2 held_out=$3
    shift 3
    attamba-train pack "$file" --tokenizer "$data/tokenizer.json" --out "$data" --name "$name" --chat chatml \
        --held-out "$held_out" "${@/#/--attribution=}"
}

books='Books in the public domain (mlschmitt/classic-books-markdown)'
pack "$sources/books.jsonl.xz" books 0.03 "$books"
pack "$data/memories.jsonl" memories 0.02 "$books; facts and questions made for this"
pack "$data/far.jsonl" far 0.02 "$books; facts and questions made for this"
pack "$data/answers.jsonl" answers 0.2 'Answers of the base; some are to passages from books in the public domain'
pack "$sources/dialogue.jsonl.xz" dialogue 0.03 \
    'Task dialogues from google-research-datasets/dstc8-schema-guided-dialogue, CC BY-SA 4.0' \
    'Taskmaster TM-4, CC BY 4.0' 'Topical-Chat (alexa/Topical-Chat), CDLA-Sharing-1.0' \
    'Worked word problems from openai/grade-school-math, MIT'
pack "$sources/stories.jsonl.xz" stories 0.05 'Fairy tales from uci-soe/FairytaleQAData, Apache-2.0' \
    "Children's stories from global-asp/pb-source and global-asp/asp-source, CC BY 4.0"
