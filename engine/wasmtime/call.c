//go:build wasmtime

#include "call.h"

extern wasmtime_error_t *wasmtime_func_call_unchecked(
	wasmtime_context_t *, const wasmtime_func_t *, void *, size_t, wasm_trap_t **);
extern uint8_t *wasmtime_memory_data(const wasmtime_context_t *, const wasmtime_memory_t *);
extern size_t wasmtime_memory_data_size(const wasmtime_context_t *, const wasmtime_memory_t *);

void isomer_view(isomer_instance *i) {
	if (!i->has_memory)
		return;
	i->base = wasmtime_memory_data(i->context, &i->memory);
	i->size = wasmtime_memory_data_size(i->context, &i->memory);
}

bool isomer_call(isomer_instance *i, const wasmtime_func_t *f, isomer_value *values, size_t n) {
	i->trap = NULL;
	i->error = wasmtime_func_call_unchecked(i->context, f, values, n, &i->trap);
	isomer_view(i);
	return i->error == NULL && i->trap == NULL;
}
