/* The header of the C API, where pkg-config says that it lies. */
#include <attamba.h>
