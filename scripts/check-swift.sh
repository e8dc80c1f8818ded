#!/usr/bin/env bash
# Checks the Swift package where there is no Swift compiler: its sources, and the Swift in docs/, are
# parsed by tree-sitter, Apple frameworks are imported only inside #if, the C module's header compiles,
# and the property list is valid.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=${CARGO_TARGET_DIR:-target}/swift-venv
if [[ ! -f $environment/ready ]]; then
    python3 -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check \
        tree-sitter==0.26.1 tree-sitter-swift==0.7.4
    touch "$environment/ready"
fi
mapfile -t sources < <(find Package.swift ios -name '*.swift' -not -path '*/.build/*')
"$environment/bin/python" scripts/parse_swift.py "${sources[@]}" docs/*.md

cc -std=c99 -Wall -Wextra -Werror -fsyntax-only -Iffi/include ios/Sources/CAttamba/shim.h
cc -std=c99 -Wall -Wextra -Werror -fsyntax-only -x c -Iffi/include - <<<'#include <attamba.h>'
"$environment/bin/python" -c \
    'import plistlib, sys; plistlib.load(open(sys.argv[1], "rb"))' ios/Sources/Attamba/PrivacyInfo.xcprivacy
