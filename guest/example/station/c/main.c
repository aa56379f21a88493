/* A module with everything that a module can do: bytes, pictures, state, and what the host lends. */
#define ISOMER_IMPLEMENTATION
#include "isomer.h"

/* What the next version takes over: 8 bytes, little-endian, in each language. */
static uint64_t total;

static isomer_bytes save(void) {
    return (isomer_bytes){(const uint8_t *)&total, sizeof total};
}

static void restore(isomer_bytes state) {
    if (state.len != sizeof total) __builtin_trap();
    __builtin_memcpy(&total, state.data, sizeof total);
}

ISOMER_STATE(save, restore)

ISOMER_BYTES(count) {
    isomer_text out = {0};
    total += input.len;
    isomer_put_uint(&out, total);
    return isomer_ok(out.data, out.len);
}

ISOMER_IMAGE(brightness) {
    isomer_text out = {0};
    size_t len = (size_t)input.width * input.height * 3;
    uint64_t sum = 0;
    if (len == 0) return isomer_error("no picture");
    for (size_t k = 0; k < len; k++) sum += input.rgb[k];
    isomer_put(&out, "{\"mean\":");
    isomer_put_uint(&out, sum / len);
    isomer_put(&out, "}");
    return isomer_ok(out.data, out.len);
}

static int same(isomer_bytes a, const char *b, uint8_t fold) {
    size_t k = 0;
    for (; k < a.len && b[k]; k++)
        if ((a.data[k] | fold) != (uint8_t)b[k]) return 0;
    return k == a.len && !b[k];
}

/* Takes the text up to the line's end from rest. */
static isomer_bytes line(isomer_bytes *rest) {
    isomer_bytes word = *rest;
    size_t at = 0;
    while (at < rest->len && rest->data[at] != '\n') at++;
    word.len = at;
    if (at < rest->len) at++;
    rest->data += at;
    rest->len -= at;
    return word;
}

static uint64_t number(isomer_bytes word) {
    uint64_t n = 0;
    for (size_t k = 0; k < word.len && word.data[k] >= '0' && word.data[k] <= '9'; k++) n = n * 10 + (uint64_t)(word.data[k] - '0');
    return n;
}

static isomer_result text(isomer_text t) { return isomer_ok(t.data, t.len); }

static isomer_result done(isomer_reply r) {
    return r.ok < 0 ? isomer_error_bytes(r.error) : isomer_ok("ok", 2);
}

static isomer_result hex(isomer_bytes b) {
    isomer_text out = {0};
    for (size_t k = 0; k < b.len; k++) {
        isomer_bytes digits[2] = {{(const uint8_t *)"0123456789abcdef" + (b.data[k] >> 4), 1}, {(const uint8_t *)"0123456789abcdef" + (b.data[k] & 15), 1}};
        isomer_put_bytes(&out, digits[0]);
        isomer_put_bytes(&out, digits[1]);
    }
    return text(out);
}

static isomer_result get(isomer_bytes key) {
    isomer_text out = {0};
    isomer_reply r = isomer_kv_get(key);
    if (r.ok < 0) return isomer_error_bytes(r.error);
    if (!r.ok) return isomer_ok("none", 4);
    isomer_put(&out, "value ");
    isomer_put_bytes(&out, r.value);
    return text(out);
}

static isomer_result keys(isomer_bytes prefix) {
    isomer_text out = {0};
    const isomer_bytes *list;
    size_t count;
    isomer_reply r = isomer_kv_keys(prefix, &list, &count);
    if (r.ok < 0) return isomer_error_bytes(r.error);
    for (size_t k = 0; k < count; k++) {
        if (k > 0) isomer_put(&out, ",");
        isomer_put_bytes(&out, list[k]);
    }
    return text(out);
}

/* Answers the status, what the server says about its answer in x-station, and the answer. */
static isomer_result fetch(isomer_bytes method, isomer_bytes url, isomer_bytes body) {
    isomer_text out = {0};
    isomer_header header = {isomer_str("x-station"), isomer_str("seven")};
    isomer_response r = isomer_fetch((isomer_request){.method = method, .url = url, .body = body, .headers = &header, .header_count = 1});
    if (r.ok < 0) return isomer_error_bytes(r.error);
    isomer_put_uint(&out, r.status);
    isomer_put(&out, " ");
    for (size_t k = 0; k < r.header_count; k++)
        if (same(r.headers[k].name, "x-station", 32)) isomer_put_bytes(&out, r.headers[k].value);
    isomer_put(&out, " ");
    isomer_put_bytes(&out, r.body);
    return text(out);
}

ISOMER_BYTES(ask) {
    isomer_text out = {0};
    isomer_bytes rest = input, request = line(&rest), first = line(&rest), second = line(&rest);
    if (same(request, "stderr", 0)) {
        isomer_put_bytes(&out, first);
        isomer_put_bytes(&out, (isomer_bytes){(const uint8_t *)"", 1});
        isomer_log((const char *)out.data);
        return isomer_ok("ok", 2);
    }
    if (same(request, "log", 0)) {
        isomer_tell((isomer_level)number(first), second);
        return isomer_ok("ok", 2);
    }
    if (same(request, "now", 0)) {
        isomer_put_uint(&out, isomer_now());
        return text(out);
    }
    if (same(request, "monotonic", 0)) {
        isomer_put_uint(&out, isomer_monotonic());
        return text(out);
    }
    if (same(request, "random", 0)) return hex(isomer_random((uint32_t)number(first)));
    if (same(request, "get", 0)) return get(first);
    if (same(request, "set", 0)) return done(isomer_kv_set(first, second));
    if (same(request, "delete", 0)) return done(isomer_kv_delete(first));
    if (same(request, "keys", 0)) return keys(first);
    if (same(request, "fetch", 0)) return fetch(first, second, rest);
    if (same(request, "publish", 0)) return done(isomer_publish(first, second));
    isomer_put(&out, "no request ");
    isomer_put_bytes(&out, request);
    return isomer_error_bytes((isomer_bytes){out.data, out.len});
}
