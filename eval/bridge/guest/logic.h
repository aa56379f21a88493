/* The functions that both conventions call: same work, same answer. */
#include <stddef.h>
#include <stdint.h>

static size_t decimal(uint8_t *out, uint64_t n) {
    uint8_t digits[20];
    size_t k = 0, at = 0;
    do digits[k++] = (uint8_t)('0' + n % 10);
    while ((n /= 10) > 0);
    while (k > 0) out[at++] = digits[--k];
    return at;
}

/* {"average":N} of the bytes of a picture. */
static size_t average(const uint8_t *rgb, size_t len, uint8_t *out) {
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++) sum += rgb[i];
    const char *head = "{\"average\":";
    size_t at = 0;
    while (head[at]) out[at] = (uint8_t)head[at], at++;
    at += decimal(out + at, len ? sum / len : 0);
    out[at++] = '}';
    return at;
}

/* {"size":N} of a picture whose bytes are not looked at: what is left is the bridge. */
static size_t size_of(size_t len, uint8_t *out) {
    const char *head = "{\"size\":";
    size_t at = 0;
    while (head[at]) out[at] = (uint8_t)head[at], at++;
    at += decimal(out + at, len);
    out[at++] = '}';
    return at;
}

/* What the benchmark changes to make another module of it. */
static const char version[] = "version 00000000";

__attribute__((export_name("mark"), used)) uint32_t mark(void) { return (uint32_t)(uintptr_t)version; }
