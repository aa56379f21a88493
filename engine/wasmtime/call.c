//go:build wasmtime

#include "call.h"

extern void wasmtime_store_epoch_deadline_callback(
	wasmtime_store_t *,
	wasmtime_error_t *(*)(wasmtime_context_t *, void *, uint64_t *, uint8_t *),
	void *, void (*)(void *));
extern void wasmtime_context_set_epoch_deadline(wasmtime_context_t *, uint64_t);
extern wasmtime_error_t *wasmtime_error_new(const char *);
extern wasmtime_error_t *wasmtime_func_call_unchecked(
	wasmtime_context_t *, const wasmtime_func_t *, void *, size_t, wasm_trap_t **);
extern uint8_t *wasmtime_memory_data(const wasmtime_context_t *, const wasmtime_memory_t *);
extern size_t wasmtime_memory_data_size(const wasmtime_context_t *, const wasmtime_memory_t *);

// The epoch is one number for all instances of an engine: whoever is not meant goes on.
static wasmtime_error_t *on_epoch(wasmtime_context_t *context, void *data, uint64_t *delta, uint8_t *kind) {
	isomer_instance *i = data;
	if (atomic_load(&i->stop))
		return wasmtime_error_new("the call was stopped");
	*delta = 1;
	*kind = 0; // go on
	return NULL;
}

void isomer_watch_epoch(wasmtime_store_t *store, isomer_instance *i) {
	i->interruptible = true;
	wasmtime_store_epoch_deadline_callback(store, on_epoch, i, NULL);
}

void isomer_arm(isomer_instance *i) {
	atomic_store(&i->stop, false);
	wasmtime_context_set_epoch_deadline(i->context, 1);
}

void isomer_stop(isomer_instance *i) { atomic_store(&i->stop, true); }

bool isomer_stopped(isomer_instance *i) { return atomic_load(&i->stop); }

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
