#!/usr/bin/env bash
# Prepares the data of the study: study/context/prepare.sh BOOKS DATA
#
# BOOKS is books.jsonl.xz. DATA gets texts whose end can only be predicted from their beginning, made of passages of
# these books, and a tokenizer.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
books=$1 data=$2
mkdir -p "$data"
python3 "$here/../../distilled/memories.py" --books "$books" --out "$data/memories.jsonl" --documents 6000
attamba-train tokenizer "$data/memories.jsonl" --vocab-size 1024 --megabytes 15 --out "$data/tokenizer.json"
attamba-train pack "$data/memories.jsonl" --tokenizer "$data/tokenizer.json" --out "$data" --name memories \
    --held-out 0.02 --attribution 'Books in the public domain (mlschmitt/classic-books-markdown); facts and questions made for this'
