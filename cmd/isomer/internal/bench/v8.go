package bench

import (
	"bytes"
	"context"
	_ "embed" // the script
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed v8.mjs
var script []byte

// Node is the command that runs V8.
const Node = "node"

// request is what the script reads.
type request struct {
	Module string         `json:"module"`
	Layers int            `json:"layers"`
	Runs   int            `json:"runs"`
	Inputs []requestInput `json:"inputs"`
}

// requestInput is an input: the global with its address, and the file with its bytes.
type requestInput struct {
	Global string `json:"global"`
	File   string `json:"file"`
}

// answer is what it prints at last: nanoseconds.
type answer struct {
	V8     string    `json:"v8"`
	Run    []int64   `json:"run"`
	Layers [][]int64 `json:"layers"`
}

// InV8 measures n as [In] does, in Node.js. The error is an exec.Error where there is none.
func InV8(ctx context.Context, n *Network, runs int, turn func(done, of int)) (*Measured, error) {
	node, err := exec.LookPath(Node)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "isomer-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := request{Inputs: []requestInput{}, Module: filepath.Join(dir, "module.wasm"), Layers: len(n.Layers), Runs: runs}
	files := map[string][]byte{r.Module: n.Bytes, filepath.Join(dir, "v8.mjs"): script}
	for i, in := range n.Inputs {
		file := filepath.Join(dir, "input_"+strconv.Itoa(i))
		files[file] = in.Data
		r.Inputs = append(r.Inputs, requestInput{in.Global, file})
	}
	for file, data := range files {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return nil, err
		}
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var talk bytes.Buffer
	c := exec.CommandContext(ctx, node, filepath.Join(dir, "v8.mjs"))
	c.Stdin, c.Stderr = bytes.NewReader(payload), &talk
	c.WaitDelay = 5 * time.Second
	lines := &lineReader{turn: turn}
	c.Stdout = lines
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w: %s", Node, err, strings.TrimSpace(talk.String()))
	}
	var a answer
	if err := json.Unmarshal(lines.last, &a); err != nil {
		return nil, fmt.Errorf("%s: %w", Node, err)
	}
	if len(a.Layers) != len(n.Layers) || len(a.Run) == 0 {
		return nil, errors.New(Node + " measured something else")
	}
	m := &Measured{Engine: "V8 " + a.V8, Run: times(a.Run)}
	for _, l := range a.Layers {
		m.Layers = append(m.Layers, times(l))
	}
	return m, nil
}

func times(ns []int64) Times {
	t := make(Times, len(ns))
	for i, n := range ns {
		t[i] = time.Duration(n)
	}
	return t
}

// lineReader passes on "DONE OF" lines as they come, and keeps what follows them.
type lineReader struct {
	turn func(done, of int)
	last []byte
}

func (l *lineReader) Write(p []byte) (int, error) {
	l.last = append(l.last, p...)
	for {
		line, rest, whole := bytes.Cut(l.last, []byte("\n"))
		var done, of int
		if n, _ := fmt.Sscanf(string(line), "%d %d", &done, &of); !whole || n != 2 {
			return len(p), nil
		}
		if l.turn != nil {
			l.turn(done, of)
		}
		l.last = rest
	}
}
