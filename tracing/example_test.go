package tracing_test

import (
	"context"
	"fmt"
	"log"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine/enginetest"
	"github.com/isomer-iot/isomer/tracing"
)

// Spans go where the application's other spans go; here they stay in memory.
func ExampleNew() {
	ctx := context.Background()
	memory := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(memory))
	m, err := isomer.New(ctx, enginetest.Guest{}.Build(), isomer.WithObserver(tracing.New(provider)))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Call(ctx, "echo", []byte("hello")); err != nil {
		log.Fatal(err)
	}
	for _, s := range memory.GetSpans() {
		fmt.Println("span", s.Name)
	}
	// Output: span echo
}
