/* A module that adds up the energy of a meter's pulses. */
#define ISOMER_IMPLEMENTATION
#include "isomer.h"

enum { pulses_per_kwh = 1000 };

static const char want[] = "input: want a JSON list of pulse counts, such as [250, 750]";

static size_t skip(isomer_bytes in, size_t at) {
    while (at < in.len && (in.data[at] == ' ' || in.data[at] == '\t' || in.data[at] == '\n' || in.data[at] == '\r')) at++;
    return at;
}

/* One character at a time: no C library has a JSON reader, and a list of counts needs none. */
ISOMER_BYTES(total) {
    uint64_t all = 0;
    size_t at = skip(input, 0);
    if (at == input.len || input.data[at] != '[') return isomer_error(want);
    at = skip(input, at + 1);
    int first = 1;
    while (first || at >= input.len || input.data[at] != ']') {
        if (first && at < input.len && input.data[at] == ']') break;
        if (!first) {
            if (at >= input.len || input.data[at] != ',') return isomer_error(want);
            at = skip(input, at + 1);
        }
        first = 0;
        if (at < input.len && input.data[at] == '-') return isomer_error("a pulse count is below 0");
        size_t begin = at;
        uint64_t n = 0;
        for (; at < input.len && at - begin < 15 && input.data[at] >= '0' && input.data[at] <= '9'; at++)
            n = n * 10 + (uint64_t)(input.data[at] - '0');
        if (at == begin) return isomer_error(want);
        all += n;
        at = skip(input, at);
    }
    if (skip(input, at + 1) != input.len) return isomer_error(want);

    isomer_text out = {0};
    isomer_put(&out, "{\"kWh\":");
    isomer_put_uint(&out, all / pulses_per_kwh);
    uint64_t rest = all % pulses_per_kwh;
    if (rest > 0) isomer_put(&out, ".");
    /* One decimal at a time, none behind the last that is not 0. */
    for (uint64_t unit = pulses_per_kwh / 10; rest > 0; rest %= unit, unit /= 10)
        isomer_put_uint(&out, rest / unit);
    isomer_put(&out, "}");
    return isomer_ok(out.data, out.len);
}
