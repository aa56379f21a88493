package isomer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

// A device's core application opens the module file once. Whoever replaces the file updates the
// application without a restart.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "isomer")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "echo.wasm")
	if err := os.WriteFile(path, enginetest.Guest{Version: "1"}.Build(), 0o600); err != nil {
		log.Fatal(err)
	}

	swapped := make(chan bool)
	m, err := isomer.Open(ctx, path, isomer.WithEvents(func(e isomer.Event) {
		if e.Kind == isomer.Swapped {
			close(swapped)
		}
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	before, _ := m.Call(ctx, "version", nil)

	// An update: written beside the old file, renamed over it.
	if err := os.WriteFile(path+".new", enginetest.Guest{Version: "2"}.Build(), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		log.Fatal(err)
	}
	<-swapped
	after, _ := m.Call(ctx, "version", nil)
	fmt.Printf("version %s, then %s\n", before, after)
	// Output: version 1, then 2
}

// newModule stands for isomer.Open with a file of your own.
func newModule(ctx context.Context) *isomer.Module {
	m, err := isomer.New(ctx, enginetest.Guest{}.Build())
	if err != nil {
		log.Fatal(err)
	}
	return m
}

func ExampleCallJSON() {
	ctx := context.Background()
	m := newModule(ctx)
	defer m.Close()
	type reading struct {
		Meter string
		Value float64
	}
	r, err := isomer.CallJSON[reading](ctx, m, "echo", reading{"gas", 1234.5})
	fmt.Println(r.Meter, r.Value, err)
	// Output: gas 1234.5 <nil>
}

func ExampleModule_CallImage() {
	ctx := context.Background()
	m := newModule(ctx)
	defer m.Close()
	img := isomer.Image{Width: 2, Height: 1, RGB: []byte{0, 50, 100, 100, 150, 200}}
	out, err := m.CallImage(ctx, "average", img)
	fmt.Println(out, err)
	// Output: [100] <nil>
}

func ExampleModule_CallScalar() {
	ctx := context.Background()
	m := newModule(ctx)
	defer m.Close()
	out, err := m.CallScalar(ctx, "mul", isomer.F64(6), isomer.F64(7))
	fmt.Println(out[0].Float(), err)
	// Output: 42 <nil>
}

// A compiled model: tensors go in and out in place.
func ExampleModule_Run() {
	ctx := context.Background()
	m, err := isomer.New(ctx, tensorGuest().Build())
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	out, err := m.Run(ctx, isomer.TensorOf([]float32{1, 2, 3, 4}, 1, 4))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out[0].Shape, out[0].Float32s())
	// Output: [1 4] [2 4 6 8]
}

// A module that never answers costs its caller the deadline, and nobody else anything.
func ExampleWithDeadline() {
	ctx := context.Background()
	m, err := isomer.New(ctx, enginetest.Guest{}.Build(), isomer.WithDeadline(50*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	_, err = m.Call(ctx, "loop", nil)
	fmt.Println(errors.Is(err, context.DeadlineExceeded), isomer.OutcomeOf(err))
	out, err := m.Call(ctx, "echo", []byte("still here"))
	fmt.Println(string(out), err)
	// Output:
	// true limit
	// still here <nil>
}

// ledger notes what calls cost; packages metrics and tracing are observers too.
type ledger struct{}

func (ledger) CallBegan(ctx context.Context, _ isomer.CallInfo) context.Context { return ctx }

func (ledger) CallEnded(_ context.Context, c isomer.CallInfo) {
	fmt.Println(c.Function, c.Input, "bytes in,", c.Output, "out:", isomer.OutcomeOf(c.Err))
}

func ExampleWithObserver() {
	ctx := context.Background()
	m, err := isomer.New(ctx, enginetest.Guest{}.Build(), isomer.WithObserver(ledger{}))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	_, _ = m.Call(ctx, "echo", []byte("hello"))
	_, _ = m.Call(ctx, "fail", nil)
	// Output:
	// echo 5 bytes in, 5 out: ok
	// fail 0 bytes in, 0 out: app
}

// The three kinds of errors: the function says no, the guest died, a limit was met.
func ExampleAppError() {
	ctx := context.Background()
	m := newModule(ctx)
	defer m.Close()
	for _, fn := range []string{"fail", "trap", "recurse"} {
		_, err := m.Call(ctx, fn, nil)
		var app *isomer.AppError
		var trap *isomer.TrapError
		var limit *isomer.LimitError
		switch {
		case errors.As(err, &app):
			fmt.Println("no:", app.Message)
		case errors.As(err, &trap):
			fmt.Println("died in", trap.Function)
		case errors.As(err, &limit):
			fmt.Println("stopped by the", limit.Limit, "limit")
		}
	}
	// Output:
	// no: no such meter
	// died in trap
	// stopped by the stack limit
}

func ExampleModule_Rollback() {
	ctx := context.Background()
	m, err := isomer.New(ctx, enginetest.Guest{Version: "1"}.Build())
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := m.Swap(ctx, enginetest.Guest{Version: "2"}.Build()); err != nil {
		log.Fatal(err)
	}
	if err := m.Rollback(ctx); err != nil {
		log.Fatal(err)
	}
	out, _ := m.Call(ctx, "version", nil)
	fmt.Println("version", string(out), "in generation", m.Stats().Generation)
	// Output: version 1 in generation 3
}
