/* The header of the C API, found through pkg-config. */
#include <attamba.h>
