/* The functions in Extism's convention (extism.org/docs/concepts/memory, the kernel's exports): input and
 * output lie in the kernel's memory, which a guest reads and writes 8 bytes a call. */
#include "logic.h"

#define HOST(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extern
HOST(input_length) uint64_t input_length(void);
HOST(input_load_u8) uint32_t input_load_u8(uint64_t at);
HOST(input_load_u64) uint64_t input_load_u64(uint64_t at);
HOST(alloc) uint64_t alloc(uint64_t n);
HOST(store_u8) void store_u8(uint64_t at, uint32_t v);
HOST(store_u64) void store_u64(uint64_t at, uint64_t v);
HOST(output_set) void output_set(uint64_t at, uint64_t n);

static uint8_t buffer[4 << 20] __attribute__((aligned(16)));
static uint8_t answer[64];

static size_t load(void) {
    uint64_t n = input_length(), i = 0;
    if (n > sizeof buffer) __builtin_trap();
    for (; i + 8 <= n; i += 8) *(uint64_t *)(buffer + i) = input_load_u64(i);
    for (; i < n; i++) buffer[i] = (uint8_t)input_load_u8(i);
    return n;
}

static void give(const uint8_t *data, size_t n) {
    uint64_t at = alloc(n), i = 0;
    for (; i + 8 <= n; i += 8) store_u64(at + i, *(const uint64_t *)(data + i));
    for (; i < n; i++) store_u8(at + i, data[i]);
    output_set(at, n);
}

#define EXPORT(name) __attribute__((export_name(name), used))

EXPORT("echo") uint32_t echo(void) {
    give(buffer, load());
    return 0;
}

EXPORT("average") uint32_t average_image(void) {
    size_t n = load();
    give(answer, average(buffer, n, answer));
    return 0;
}

/* The size is known without a load: the least that a function which looks at nothing can pay. */
EXPORT("first") uint32_t first(void) {
    give(answer, size_of((size_t)input_length(), answer));
    return 0;
}
