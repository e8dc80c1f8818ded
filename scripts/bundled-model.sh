#!/usr/bin/env bash
# Prints the path of the bundled model: the only .gguf directly in models/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

found=(models/*.gguf)
if ((${#found[@]} != 1)) || [[ ! -f ${found[0]} ]]; then
    echo "expected one .gguf in models/, found: ${found[*]}" >&2
    exit 1
fi
echo "$PWD/${found[0]}"
