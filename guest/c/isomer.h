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
void isomer_put_bytes(isomer_text *t, isomer_bytes b);
void isomer_put_uint(isomer_text *t, uint64_t n);
void isomer_log(const char *line);         /* one line for the host to show or drop */
size_t isomer_length(const char *s);
void isomer_done(void);                    /* for the macros below */

/* What the host lends. A module imports what it calls and nothing else, so that a host refuses only those that
 * want what it does not grant; the permission stands behind each. Texts are UTF-8 as in isomer_text, or
 * isomer_str("literal"). What comes back is valid until the next call, like the input. */

typedef enum { isomer_debug, isomer_info, isomer_warn, isomer_fault } isomer_level;

/* ok: 1 where it worked and there is a value, 0 where there is none, -1 where error says why not. */
typedef struct {
    int ok;
    isomer_bytes value, error;
} isomer_reply;

typedef struct {
    isomer_bytes name, value;
} isomer_header;

typedef struct {
    isomer_bytes method, url; /* no method: GET */
    const isomer_header *headers;
    size_t header_count;
    isomer_bytes body;
} isomer_request;

typedef struct {
    int ok; /* 1, or -1 where error says why there is no response */
    uint16_t status;
    const isomer_header *headers;
    size_t header_count;
    isomer_bytes body, error;
} isomer_response;

void isomer_tell(isomer_level level, isomer_bytes line);            /* log */
uint64_t isomer_now(void);                                          /* clock: ns since 1970 */
uint64_t isomer_monotonic(void);                                    /* clock: ns since some moment */
isomer_bytes isomer_random(uint32_t len);                           /* random */
isomer_reply isomer_kv_get(isomer_bytes key);                       /* kv */
isomer_reply isomer_kv_set(isomer_bytes key, isomer_bytes value);   /* kv */
isomer_reply isomer_kv_delete(isomer_bytes key);                    /* kv */
/* The keys that begin with prefix, as count texts at keys. */
isomer_reply isomer_kv_keys(isomer_bytes prefix, const isomer_bytes **keys, size_t *count);
isomer_response isomer_fetch(isomer_request r);                     /* http:HOST */
isomer_reply isomer_publish(isomer_bytes subject, isomer_bytes payload); /* publish:SUBJECT */

static inline isomer_bytes isomer_str(const char *s) {
    return (isomer_bytes){(const uint8_t *)s, isomer_length(s)};
}

/* The bytes must live until the next call: a literal, a static variable or isomer_alloc's, not the stack. */
static inline isomer_result isomer_ok(const void *data, size_t len) {
    return (isomer_result){0, data, len};
}

/* An application error: the module says no and serves on. The message is UTF-8. */
static inline isomer_result isomer_error(const char *message) {
    return (isomer_result){1, message, isomer_length(message)};
}

/* The same of a text that is not a literal, such as isomer_reply's error. */
static inline isomer_result isomer_error_bytes(isomer_bytes message) {
    return (isomer_result){1, message.data, message.len};
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

void isomer_put_bytes(isomer_text *t, isomer_bytes b) { isomer_add(t, b.data, b.len); }
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

#define ISOMER_IMPORT(module, name) __attribute__((import_module("isomer:host/" module), import_name(name)))

ISOMER_IMPORT("log", "log") void isomer_import_log(uint32_t level, const uint8_t *line, size_t len);
ISOMER_IMPORT("clock", "now") uint64_t isomer_import_now(void);
ISOMER_IMPORT("clock", "monotonic") uint64_t isomer_import_monotonic(void);
ISOMER_IMPORT("random", "bytes") void isomer_import_random(uint32_t len, isomer_bytes *ret);
ISOMER_IMPORT("kv", "get") void isomer_import_get(const uint8_t *key, size_t len, uint32_t *ret);
ISOMER_IMPORT("kv", "set") void isomer_import_set(const uint8_t *key, size_t len, const uint8_t *value, size_t n, uint32_t *ret);
ISOMER_IMPORT("kv", "delete") void isomer_import_delete(const uint8_t *key, size_t len, uint32_t *ret);
ISOMER_IMPORT("kv", "keys") void isomer_import_keys(const uint8_t *prefix, size_t len, uint32_t *ret);
ISOMER_IMPORT("http", "fetch") void isomer_import_fetch(const uint8_t *method, size_t mlen, const uint8_t *url, size_t ulen,
    const isomer_header *headers, size_t count, const uint8_t *body, size_t len, uint32_t *ret);
ISOMER_IMPORT("publish", "publish") void isomer_import_publish(const uint8_t *subject, size_t len, const uint8_t *payload, size_t n, uint32_t *ret);

/* The canonical ABI's records, in words: their tags are bytes, and the three beside them are left as they were. */
static isomer_bytes isomer_at(const uint32_t *word) {
    return (isomer_bytes){(const uint8_t *)(uintptr_t)word[0], word[1]};
}

static isomer_reply isomer_replied(const uint32_t *ret) {
    return (ret[0] & 255) ? (isomer_reply){.ok = -1, .error = isomer_at(ret + 1)} : (isomer_reply){.ok = 1};
}

void isomer_tell(isomer_level level, isomer_bytes line) { isomer_import_log((uint32_t)level, line.data, line.len); }
uint64_t isomer_now(void) { return isomer_import_now(); }
uint64_t isomer_monotonic(void) { return isomer_import_monotonic(); }

isomer_bytes isomer_random(uint32_t len) {
    isomer_bytes b;
    isomer_import_random(len, &b);
    return b;
}

isomer_reply isomer_kv_get(isomer_bytes key) {
    uint32_t ret[4];
    isomer_import_get(key.data, key.len, ret);
    isomer_reply r = isomer_replied(ret);
    if (r.ok < 0) return r;
    r.ok = (ret[1] & 255) != 0;
    if (r.ok) r.value = isomer_at(ret + 2);
    return r;
}

isomer_reply isomer_kv_set(isomer_bytes key, isomer_bytes value) {
    uint32_t ret[3];
    isomer_import_set(key.data, key.len, value.data, value.len, ret);
    return isomer_replied(ret);
}

isomer_reply isomer_kv_delete(isomer_bytes key) {
    uint32_t ret[3];
    isomer_import_delete(key.data, key.len, ret);
    return isomer_replied(ret);
}

isomer_reply isomer_kv_keys(isomer_bytes prefix, const isomer_bytes **keys, size_t *count) {
    uint32_t ret[3];
    isomer_import_keys(prefix.data, prefix.len, ret);
    isomer_reply r = isomer_replied(ret);
    *keys = r.ok < 0 ? 0 : (const isomer_bytes *)(uintptr_t)ret[1];
    *count = r.ok < 0 ? 0 : ret[2];
    return r;
}

isomer_response isomer_fetch(isomer_request r) {
    uint32_t ret[6];
    isomer_bytes method = r.method.len > 0 ? r.method : isomer_str("GET");
    isomer_import_fetch(method.data, method.len, r.url.data, r.url.len, r.headers, r.header_count, r.body.data, r.body.len, ret);
    if (ret[0] & 255) return (isomer_response){.ok = -1, .error = isomer_at(ret + 1)};
    return (isomer_response){.ok = 1, .status = (uint16_t)ret[1], .headers = (const isomer_header *)(uintptr_t)ret[2],
        .header_count = ret[3], .body = isomer_at(ret + 4)};
}

isomer_reply isomer_publish(isomer_bytes subject, isomer_bytes payload) {
    uint32_t ret[3];
    isomer_import_publish(subject.data, subject.len, payload.data, payload.len, ret);
    return isomer_replied(ret);
}

/* The compiler calls these for copies and comparisons, those of __builtin_memcmp among them, that the code does not
 * spell out; with -mbulk-memory the bodies of the first three are one instruction each. */
__attribute__((weak)) void *memcpy(void *to, const void *from, size_t n) { return __builtin_memcpy(to, from, n); }
__attribute__((weak)) void *memmove(void *to, const void *from, size_t n) { return __builtin_memmove(to, from, n); }
__attribute__((weak)) void *memset(void *at, int byte, size_t n) { return __builtin_memset(at, byte, n); }
__attribute__((weak)) int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *x = a, *y = b;
    for (; n > 0; n--, x++, y++)
        if (*x != *y) return *x < *y ? -1 : 1;
    return 0;
}

#endif /* ISOMER_IMPLEMENTATION */
#endif /* ISOMER_H */
