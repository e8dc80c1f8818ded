/* What the test programs share: each is a program of a caller, and ends with 1 at the first thing
 * that is not as the header says. */
#ifndef CHECK_H
#define CHECK_H

#include "attamba.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* The call has to succeed. */
#define OK(call) check_status((call), ATTAMBA_STATUS_OK, __FILE__, __LINE__, #call)

/* The call has to fail with the status, and to say why. */
#define FAILS(status, call) check_status((call), (status), __FILE__, __LINE__, #call)

static inline void check_status(int32_t found, int32_t wanted, const char *file, int line, const char *call)
{
    char message[512] = "";
    attamba_error_message(NULL, message, sizeof message, NULL);
    if (found != wanted) {
        fprintf(stderr, "%s:%d: %s is %d, not %d: %s\n", file, line, call, (int)found, (int)wanted,
                message);
        exit(1);
    }
    if (found != ATTAMBA_STATUS_OK && message[0] == 0) {
        fprintf(stderr, "%s:%d: %s fails without a message\n", file, line, call);
        exit(1);
    }
}

/* Text that a callback has got. */
struct text {
    char bytes[1 << 16];
    size_t length;
    size_t calls;
    size_t stop_after; /* calls; 0 never */
};

/* Whether the bytes are whole characters. */
static inline int is_utf8(const char *text, size_t bytes)
{
    size_t i = 0;
    while (i < bytes) {
        unsigned char first = (unsigned char)text[i];
        size_t more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : 3;
        if ((first >= 0x80 && first < 0xC2) || first > 0xF4 || i + more >= bytes) {
            return 0;
        }
        for (i++; more > 0; more--, i++) {
            if (((unsigned char)text[i] & 0xC0) != 0x80) {
                return 0;
            }
        }
    }
    return 1;
}

static inline int32_t collect(void *user, const char *text, size_t bytes)
{
    struct text *all = (struct text *)user;
    CHECK(bytes > 0 && is_utf8(text, bytes));
    CHECK(all->length + bytes < sizeof all->bytes);
    memcpy(all->bytes + all->length, text, bytes);
    all->length += bytes;
    all->bytes[all->length] = 0;
    all->calls++;
    return all->stop_after == 0 || all->calls < all->stop_after;
}

/* Bytes of memory of this process that are resident, or 0 where the system does not say. */
static inline long resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%*s %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * 4096;
}

#endif
