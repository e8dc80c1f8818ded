#!/usr/bin/env bash
# Prepares the data of the bundled model: bundled/prepare.sh SOURCES DATA [TOKENIZER]
#
# SOURCES holds stories.jsonl.xz, dialogue.jsonl.xz and books.jsonl.xz. DATA gets the packed sources of the bundled
# model (chat, storytelling, fairytales, books) and those of the study (stories, dialogue, books). With TOKENIZER,
# the tokenizer of a model that training continues from (`attamba-train extract-tokenizer`), none is trained.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sources=$1 data=$2
mkdir -p "$data"

if [ $# -gt 2 ]; then
    cp "$3" "$data/tokenizer.json"
else
    attamba-train tokenizer "$sources"/{stories,dialogue,books}.jsonl.xz --megabytes 15 --out "$data/tokenizer.json"
fi
python3 "$here/conversations.py" --stories "$sources/stories.jsonl.xz" --dialogue "$sources/dialogue.jsonl.xz" --out "$data"

# pack FILE NAME HELD_OUT ATTRIBUTION...
pack() {
    local file=$1 name=$2 held_out=$3
    shift 3
    attamba-train pack "$file" --tokenizer "$data/tokenizer.json" --out "$data" --name "$name" --held-out "$held_out" \
        "${@/#/--attribution=}"
}

fairytales='Fairy tales from uci-soe/FairytaleQAData, Apache-2.0'
picture_books="Children's stories from global-asp/pb-source and global-asp/asp-source, CC BY 4.0"
talk=(
    'Task dialogues from google-research-datasets/dstc8-schema-guided-dialogue, CC BY-SA 4.0'
    'Taskmaster TM-4, CC BY 4.0'
    'Topical-Chat (alexa/Topical-Chat), CDLA-Sharing-1.0'
)
pack "$data/chat.jsonl" chat 0.02 "${talk[@]}"
pack "$data/storytelling.jsonl" storytelling 0.06 "$picture_books"
pack "$data/fairytales.jsonl" fairytales 0.05 "$fairytales"
pack "$sources/stories.jsonl.xz" stories 0.05 "$fairytales" "$picture_books"
pack "$sources/dialogue.jsonl.xz" dialogue 0.02 "${talk[@]}" 'Worked word problems from openai/grade-school-math, MIT'
pack "$sources/books.jsonl.xz" books 0.03 'Books in the public domain (mlschmitt/classic-books-markdown)'
