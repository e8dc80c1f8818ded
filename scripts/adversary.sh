#!/usr/bin/env bash
# Attacks a release build for about an hour, on demand: what docs/security.md promises.
#
#   scripts/adversary.sh [options] [kills] [turns] [fuzz]      all of them by default
#
#   options  absurd values for every option of every command
#   kills    a chat that is killed KILLS (500) times while it saves; its file can be resumed each time
#   turns    a chat of TURNS (200,000) turns, on a tiny model: as fast at the end as at the start
#   fuzz     every fuzz target (scripts/soundness.sh fuzz), MINUTES each (8)
#
# PROFILE is cargo's (release); ATTAMBA names a program that is there already. Needs Python with numpy, which
# ATTAMBA_PYTHON may name, and for `fuzz` what fuzz/README.md names.
set -euo pipefail
cd "$(dirname "$0")/.."
steps=("$@")
((${#steps[@]})) || steps=(options kills turns fuzz)
profile=${PROFILE:-release}
python=${ATTAMBA_PYTHON:-python3}
[ -n "${ATTAMBA:-}" ] || cargo build --profile "$profile"
attamba=${ATTAMBA:-$PWD/target/${profile/#dev/debug}/attamba}
kills=${KILLS:-500}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tiny=$folder/tiny.gguf
"$python" spec/reference.py make "$tiny" --set vocab=94

options() { "$python" cli/tests/sweep.py "$attamba" "$tiny"; }

kills() {
    local file=$folder/chat killed=0 saves=0 before
    # Any vocabulary spells it, and an answer is written as it was generated: a turn is short.
    echo '{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}<{% endif %}' \
        >"$folder/template"
    printf 'hello\n%.0s' $(seq 2000) >"$folder/lines"
    chat() { "$attamba" chat -m "$tiny" -n 2 --seed 1 --template "$folder/template" --save "$file"; }
    for i in $(seq "$kills"); do
        before=$(stat -c %Y.%s "$file" 2>/dev/null || true)
        "$attamba" chat -m "$tiny" -n 2 --seed 1 --template "$folder/template" --save "$file" \
            <"$folder/lines" >/dev/null 2>&1 &
        local writer=$!
        sleep "0.$(printf %03d $((RANDOM % 400)))"
        if kill -9 "$writer" 2>/dev/null; then killed=$((killed + 1)); fi
        wait "$writer" 2>/dev/null || true
        [ "$before" = "$(stat -c %Y.%s "$file" 2>/dev/null || true)" ] || saves=$((saves + 1))
        if [ -s "$file" ]; then
            chat </dev/null >/dev/null
        fi
        # A short chat is saved sooner.
        ((i % 20)) || rm -f "$file"
    done
    # The next save removes what the killed ones left.
    echo hello | chat >/dev/null
    local left
    left=$(find "$folder" -name '.attamba-*' | wc -l)
    echo "$killed of $kills killed while running, $saves after a save; $left temporary files left"
    [ "$left" = 0 ]
}

turns() { cargo run --profile "$profile" --example turns -- "$tiny" "${TURNS:-200000}"; }

fuzz() { MINUTES=${MINUTES:-8} scripts/soundness.sh fuzz; }

for step in "${steps[@]}"; do
    echo "== $step"
    "$step"
done
