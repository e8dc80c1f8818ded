#!/usr/bin/env bash
# Prints the RUSTFLAGS for linking libattamba.so for Android: as small as the oldest
# supported system (API 26) can load. Relocations are packed, identical functions are
# folded, and pages have 16 KiB.
echo "-Clink-arg=-Wl,--pack-dyn-relocs=android -Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,-z,max-page-size=16384"
