#!/usr/bin/env bash
# Attacks a release build for about an hour, on demand: what docs/security.md promises.
#
#   scripts/adversary.sh [options] [kills] [turns] [fuzz]      all of them by default
#
#   options  absurd values for every option of every command
#   kills    a chat that is killed 500 times while it saves; its file can be resumed each time
#   turns    a chat of 200,000 turns, on a tiny model: as fast at the end as at the start
#   fuzz     every fuzz target (scripts/soundness.sh fuzz), MINUTES each (by default 8)
#
# Needs Python with numpy, and for `fuzz` what fuzz/README.md names.
set -euo pipefail
cd "$(dirname "$0")/.."
steps=("$@")
((${#steps[@]})) || steps=(options kills turns fuzz)
cargo build --release
attamba=$PWD/target/release/attamba
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tiny=$folder/tiny.gguf
python3 spec/reference.py make "$tiny" --set vocab=94

options() { python3 cli/tests/sweep.py "$attamba" "$tiny"; }

kills() {
    local file=$folder/chat killed=0
    for i in $(seq 500); do
        yes hello | head -n 2000 | "$attamba" chat -m "$tiny" -n 2 --seed 1 --save "$file" >/dev/null 2>&1 &
        local writer=$!
        sleep "0.$(printf %03d $((RANDOM % 400)))"
        kill -9 "$writer" 2>/dev/null && killed=$((killed + 1))
        wait "$writer" 2>/dev/null || true
        if [ -s "$file" ]; then
            "$attamba" chat -m "$tiny" --save "$file" </dev/null >/dev/null
        fi
    done
    # The next save removes what the killed ones left.
    echo hello | "$attamba" chat -m "$tiny" -n 2 --save "$file" >/dev/null
    local left
    left=$(find "$folder" -name '.attamba-*' | wc -l)
    echo "$killed of 500 killed while running; $left temporary files left"
    [ "$left" = 0 ]
}

turns() { cargo run --release --example turns -- "$tiny" 200000; }

fuzz() { MINUTES=${MINUTES:-8} scripts/soundness.sh fuzz; }

for step in "${steps[@]}"; do
    echo "== $step"
    "$step"
done
