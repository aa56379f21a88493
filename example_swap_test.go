package isomer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/engine/enginetest"
)

// A new module answers live calls beside the old one before it serves. This one answers differently, so
// that it is refused, and no caller saw its answers.
func ExampleWithShadow() {
	ctx := context.Background()
	started := make(chan bool, 1)
	m, err := isomer.New(ctx, enginetest.Guest{Version: "1"}.Build(),
		isomer.WithShadow(isomer.Shadow{Calls: 50, Compare: isomer.Tolerance(1e-6)}),
		isomer.WithEvents(func(e isomer.Event) {
			if e.Kind == isomer.ShadowStarted {
				started <- true
			}
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	refused := make(chan error)
	go func() { refused <- m.Swap(ctx, enginetest.Guest{Version: "2"}.Build()) }()
	<-started
	out, _ := m.Call(ctx, "version", []byte("live"))
	err = <-refused

	var s *isomer.ShadowError
	fmt.Printf("version %s answered; refused: %v\n", out, errors.Is(err, isomer.ErrRefused))
	if errors.As(err, &s) {
		fmt.Printf("%d of %d differed\n", s.Differed, s.Compared)
	}
	// Output:
	// version 1 answered; refused: true
	// 1 of 1 differed
}

// With a history the module before is there after a restart, and what was rolled back stays away.
func ExampleWithHistory() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "isomer")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, history := filepath.Join(dir, "m.wasm"), isomer.WithHistory(filepath.Join(dir, "history"))
	serve := func(f func(m *isomer.Module)) { // one run of the process
		m, err := isomer.Open(ctx, path, history, isomer.WithWatch(false))
		if err != nil {
			log.Fatal(err)
		}
		defer m.Close()
		f(m)
		out, _ := m.Call(ctx, "version", nil)
		fmt.Printf("version %s\n", out)
	}
	put := func(version string) {
		if err := os.WriteFile(path, enginetest.Guest{Version: version}.Build(), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	nothing := func(*isomer.Module) {}

	put("1")
	serve(nothing)
	put("2") // an update while the process is down, which turns out to be a bad one
	serve(func(m *isomer.Module) {
		if err := m.Rollback(ctx); err != nil {
			log.Fatal(err)
		}
	})
	serve(nothing)
	// Output:
	// version 1
	// version 1
	// version 1
}
