/* isomer.h: write a module in C, without a libc.
 *
 * Use it in a module that follows docs/abi.md, built with
 *
 *     clang --target=wasm32 -O2 -mbulk-memory -ffreestanding -nostdlib -Wl,--no-entry -o m.wasm *.c
 *
 * never in a host. One of the module's files defines ISOMER_IMPLEMENTATION before it includes this one.
 *
 *     ISOMER_BYTES(total) {                        // input: isomer_bytes { data, len }
 *         if (input.len == 0) return isomer_error("no input");
 *         return isomer_ok(input.data, input.len);
 *     }
 *
 * Memory: the input and what isomer_alloc gives are valid until the module's next call. What has to live
 * longer is a static variable. Compatibility: v0, may change until 1.0.
 */
#ifndef ISOMER_H
#define ISOMER_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *data;
    size_t len;
} isomer_bytes;

/* Three bytes a pixel: red, green, blue; rows from top to bottom without gaps. */
typedef struct {
    uint32_t width, height;
    const uint8_t *rgb;
} isomer_image;

/* What a function answers, as it lies in memory: result<list<u8>, string>. */
typedef struct {
    uint8_t tag;
    const void *data;
    size_t len;
} isomer_result;

_Static_assert(sizeof(isomer_result) == 12 && offsetof(isomer_result, data) == 4, "build with --target=wasm32");

/* Text that grows: isomer_text t = {0}; isomer_put(&t, "x"); return isomer_ok(t.data, t.len); */
typedef struct {
    uint8_t *data;
    size_t len, cap;
} isomer_text;

void *isomer_alloc(size_t size);           /* 16-byte aligned; traps where there is no memory */
void isomer_put(isomer_text *t, const char *s);
void isomer_put_uint(isomer_text *t, uint64_t n);
void isomer_log(const char *line);         /* one line for the host to show or drop */
size_t isomer_length(const char *s);
void isomer_done(void);                    /* for the macros below */

/* The bytes must live until the next call: a literal, a static variable or isomer_alloc's, not the stack. */
static inline isomer_result isomer_ok(const void *data, size_t len) {
    return (isomer_result){0, data, len};
}

/* An application error: the module says no and serves on. The message is UTF-8. */
static inline isomer_result isomer_error(const char *message) {
    return (isomer_result){1, message, isomer_length(message)};
}

#define ISOMER_EXPORT(name) __attribute__((export_name(name), used))

/* ISOMER_BYTES(name) { … } exports a function of the convention bytes; the body has isomer_bytes input. */
#define ISOMER_BYTES(name)                                                     \
    static isomer_result isomer_body_##name(isomer_bytes input);               \
    ISOMER_EXPORT(#name) isomer_result *isomer_export_##name(const uint8_t *data, size_t len) { \
        static isomer_result r;                                                \
        r = isomer_body_##name((isomer_bytes){data, len});                     \
        isomer_done();                                                         \
        return &r;                                                             \
    }                                                                          \
    static isomer_result isomer_body_##name(isomer_bytes input)

/* ISOMER_IMAGE(name) { … } exports a function of the convention image; the body has isomer_image input. */
#define ISOMER_IMAGE(name)                                                     \
    static isomer_result isomer_body_##name(isomer_image input);               \
    ISOMER_EXPORT(#name) isomer_result *isomer_export_##name(uint32_t width, uint32_t height, const uint8_t *rgb, size_t len) { \
        static isomer_result r;                                                \
        (void)len;                                                             \
        r = isomer_body_##name((isomer_image){width, height, rgb});            \
        isomer_done();                                                         \
        return &r;                                                             \
    }                                                                          \
    static isomer_result isomer_body_##name(isomer_image input)

/* ISOMER_STATE(save, restore) carries state to the next version:
 * isomer_bytes save(void), void restore(isomer_bytes state). */
#define ISOMER_STATE(save, restore)                                            \
    ISOMER_EXPORT("isomer_save") isomer_bytes *isomer_export_save(void) {      \
        static isomer_bytes s;                                                 \
        s = save();                                                            \
        isomer_done();                                                         \
        return &s;                                                             \
    }                                                                          \
    ISOMER_EXPORT("isomer_restore") void isomer_export_restore(const uint8_t *data, size_t len) { \
        restore((isomer_bytes){data, len});                                    \
        isomer_done();                                                         \
    }

#ifdef ISOMER_IMPLEMENTATION

extern unsigned char __heap_base;
static uintptr_t isomer_top; /* end of what is given out; 0: nothing yet */
static int isomer_answered;  /* the call is over: the next allocation begins anew */

void isomer_done(void) { isomer_answered = 1; }

void *isomer_alloc(size_t size) {
    if (isomer_top == 0 || isomer_answered) {
        isomer_top = (uintptr_t)&__heap_base;
        isomer_answered = 0;
    }
    uint64_t at = ((uint64_t)isomer_top + 15) & ~(uint64_t)15;
    uint64_t end = at + size;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    if (end > UINT32_MAX) __builtin_trap();
    if (end > have && __builtin_wasm_memory_grow(0, (size_t)((end - have + 65535) >> 16)) == (size_t)-1) __builtin_trap();
    isomer_top = (uintptr_t)end;
    return (void *)(uintptr_t)at;
}

ISOMER_EXPORT("cabi_realloc") void *isomer_export_realloc(const uint8_t *old, size_t old_len, size_t align, size_t size) {
    if (align > 16) __builtin_trap();
    uint8_t *p = isomer_alloc(size);
    if (old_len > 0) __builtin_memcpy(p, old, old_len < size ? old_len : size);
    return p;
}

size_t isomer_length(const char *s) {
    size_t n = 0;
    while (s[n]) n++;
    return n;
}

static void isomer_add(isomer_text *t, const void *s, size_t n) {
    if (n > t->cap - t->len) {
        size_t cap = (t->len + n) * 2 + 64;
        uint8_t *data = isomer_alloc(cap);
        if (t->len > 0) __builtin_memcpy(data, t->data, t->len);
        t->data = data;
        t->cap = cap;
    }
    __builtin_memcpy(t->data + t->len, s, n);
    t->len += n;
}

void isomer_put(isomer_text *t, const char *s) { isomer_add(t, s, isomer_length(s)); }

void isomer_put_uint(isomer_text *t, uint64_t n) {
    char digits[20];
    int at = 20;
    do digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    isomer_add(t, digits + at, (size_t)(20 - at));
}

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write")))
int32_t isomer_fd_write(int32_t fd, const isomer_bytes *parts, size_t count, size_t *written);

void isomer_log(const char *line) {
    isomer_bytes parts[2] = {{(const uint8_t *)line, isomer_length(line)}, {(const uint8_t *)"\n", 1}};
    size_t written;
    (void)isomer_fd_write(2, parts, 2, &written);
}

/* The compiler calls these for copies that the code does not spell out; with -mbulk-memory their bodies are
 * one instruction each. */
__attribute__((weak)) void *memcpy(void *to, const void *from, size_t n) { return __builtin_memcpy(to, from, n); }
__attribute__((weak)) void *memmove(void *to, const void *from, size_t n) { return __builtin_memmove(to, from, n); }
__attribute__((weak)) void *memset(void *at, int byte, size_t n) { return __builtin_memset(at, byte, n); }

#endif /* ISOMER_IMPLEMENTATION */
#endif /* ISOMER_H */
