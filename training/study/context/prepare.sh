#!/usr/bin/env bash
# Prepares the data of the study: study/context/prepare.sh BOOKS DATA
#
# BOOKS is books.jsonl.xz. DATA gets texts made of passages of these books, and a tokenizer.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
books=$1 data=$2
mkdir -p "$data"
python3 "$here/texts.py" --books "$books" --out "$data/texts.jsonl"
attamba-train tokenizer "$data/texts.jsonl" --vocab-size 1024 --megabytes 15 --out "$data/tokenizer.json"
attamba-train pack "$data/texts.jsonl" --tokenizer "$data/tokenizer.json" --out "$data" --name texts \
    --held-out 0.02 --attribution 'Books in the public domain (mlschmitt/classic-books-markdown); facts made for this'
