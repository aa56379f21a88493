//go:build wasmtime

// What the call path needs of wasmtime's C API. The library comes with wasmtime-go; its headers
// cannot be included from another module, so the few functions used here are declared once more.
// layout.go refuses to compile where a type has another size than there.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wasmtime_store wasmtime_store_t;
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasm_trap_t wasm_trap_t;

typedef struct {
	uint64_t store_id;
	void *internal;
} wasmtime_func_t;

typedef struct {
	struct {
		uint64_t store_id;
		uint32_t internal1;
	};
	uint32_t internal2;
} wasmtime_memory_t;

// A parameter or result: the numbers of the seam lie in the lower half.
typedef struct {
	_Alignas(8) uint64_t bits;
	uint64_t upper;
} isomer_value;

// The part of an instance that C sees. It lies outside Go's heap, so a call passes no Go pointer
// and allocates nothing.
typedef struct {
	wasmtime_context_t *context;
	wasmtime_memory_t memory;
	bool has_memory;
	uint8_t *base;    // memory as the last call left it
	size_t size;
	wasm_trap_t *trap; // why the last call failed; Go takes ownership
	wasmtime_error_t *error;
} isomer_instance;

void isomer_view(isomer_instance *i);
bool isomer_call(isomer_instance *i, const wasmtime_func_t *f, isomer_value *values, size_t n);
