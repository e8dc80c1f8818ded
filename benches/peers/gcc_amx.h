// Included before every llama.cpp source by setup.sh if the compiler is GCC.
//
// GCC 12 declares that `ldtilecfg` reads only 8 of the 64 bytes of a tile configuration, and that `tileload` reads none of
// the tile. Its optimizer therefore drops the stores before them, and llama.cpp's AMX path dies with SIGILL or SIGSEGV
// (its pull request 26954 reports the same). Here both declare what they read. Only builds with AMX are affected.
#if defined(__GNUC__) && !defined(__clang__) && defined(__AMX_TILE__)
#include <immintrin.h>

#undef _tile_loadconfig
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64])(config)))

#undef _tile_loadd
#define _tile_loadd(tile, base, stride) PEERS_TILE_LOAD(tile, base, stride)
#define PEERS_TILE_LOAD(tile, base, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"((const void *)(base)), "r"((long)(stride)) : "memory")
#endif
