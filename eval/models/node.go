package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/isomer-iot/isomer/abi"
)

// process is a contestant in a Node.js process of its own, so that nobody pays for another's garbage.
type process struct {
	dir, kind string
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	scratch   string
}

// request and answer are the lines that peers/run.mjs describes.
type request struct {
	Load    string   `json:"load,omitempty"`
	Inputs  []feed   `json:"inputs,omitempty"`
	Outputs []string `json:"outputs,omitempty"`
	Sizes   []int    `json:"sizes,omitempty"`
	Run     int      `json:"run,omitempty"`
}

type feed struct {
	Name  string    `json:"name"`
	DType abi.DType `json:"dtype"`
	Dims  []int     `json:"dims"`
	File  string    `json:"file"`
}

type answer struct {
	MS    []float64 `json:"ms"`
	CPU   float64   `json:"cpu"`
	Error string    `json:"error"`
}

// peersFound says which packages node can load in dir, by version; an error where there is no node.
func peersFound(dir string) (map[string]string, error) {
	cmd := exec.Command("node", "run.mjs", "check")
	cmd.Dir = dir
	b, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	return found, json.Unmarshal(b, &found)
}

func (p *process) Load(ctx context.Context, s *subject) ([][]byte, error) {
	if p.cmd == nil {
		if err := p.start(ctx); err != nil {
			return nil, err
		}
	}
	r := request{Load: s.onnx}
	if p.kind == "isomer" {
		r.Load = s.wasm
	}
	for i, t := range s.manifest.Inputs {
		file := filepath.Join(p.scratch, t.Global)
		if err := os.WriteFile(file, s.inputs[i], 0o600); err != nil {
			return nil, err
		}
		r.Inputs = append(r.Inputs, feed{t.Name, t.DType, t.Shape, file})
	}
	for _, t := range s.manifest.Outputs {
		size, err := t.ByteSize()
		if err != nil {
			return nil, err
		}
		r.Outputs = append(r.Outputs, filepath.Join(p.scratch, t.Global))
		r.Sizes = append(r.Sizes, size)
	}
	if _, err := p.ask(r); err != nil {
		return nil, err
	}
	var out [][]byte
	for i, file := range r.Outputs {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if len(b) != r.Sizes[i] {
			return nil, fmt.Errorf("output %q has %d bytes, ours %d", s.manifest.Outputs[i].Name, len(b), r.Sizes[i])
		}
		out = append(out, b)
	}
	return out, nil
}

func (p *process) start(ctx context.Context) (err error) {
	if p.scratch, err = os.MkdirTemp("", "contestant"); err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, "node", "run.mjs", p.kind)
	p.cmd.Dir, p.cmd.Stderr = p.dir, os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.out = bufio.NewReader(out)
	return p.cmd.Start()
}

func (p *process) ask(r request) (*answer, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return nil, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("node ended: %w", err)
	}
	a := &answer{}
	if err := json.Unmarshal(line, a); err != nil {
		return nil, fmt.Errorf("%w in %.200q", err, line)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a, nil
}

func (p *process) Run(_ context.Context, n int) ([]float64, float64, error) {
	a, err := p.ask(request{Run: n})
	if err != nil {
		return nil, 0, err
	}
	return a.MS, a.CPU, nil
}

func (p *process) Close() error {
	if p.cmd == nil {
		return nil
	}
	_ = p.in.Close() // ends the process's loop
	err := p.cmd.Wait()
	return errors.Join(err, os.RemoveAll(p.scratch))
}
