#!/usr/bin/env bash
# Prints the flags for RUSTFLAGS with which libattamba.so is linked for Android: as small as the oldest
# system that is supported (API 26) can load it. Relocations are packed, functions of equal code become
# one, and pages are of 16 KiB.
echo "-Clink-arg=-Wl,--pack-dyn-relocs=android -Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,-z,max-page-size=16384"
