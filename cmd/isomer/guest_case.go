package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
)

// guestCase is a call with a known answer. Input and output are JSON as it crosses the border; of a
// function whose encoding is another one, a JSON string with the bytes as text.
type guestCase struct {
	Function  string          `json:"function"`
	Input     json.RawMessage `json:"input"`
	Output    json.RawMessage `json:"output"`
	Tolerance float64         `json:"tolerance"`
	// Error is a part of the message where the function has to say no. Manifests have no such cases, so
	// it is tried at each build only.
	Error string `json:"error"`
}

// caseTime ends a case that does not return.
const caseTime = 30 * time.Second

// tryCases calls the module with each case that must fail and gives the golden ones, which the bridge
// tries itself when it opens the module.
func tryCases(ctx context.Context, std streams, bin []byte, p project) ([]abi.Golden, error) {
	manifest := p.manifest()
	var golden []abi.Golden
	var refused []guestCase
	for k, c := range p.Cases {
		f, ok := manifest.Function(c.Function)
		if !ok || (c.Error == "") == (c.Output == nil) || f.Convention == abi.Image || f.Convention == abi.WasmtubeImage {
			return nil, fmt.Errorf("%s: cases[%d]: want a function of the list that takes no picture, and either output or error", projectFile, k)
		}
		in, out := f.Encodings()
		input, err := caseBytes(c.Input, in)
		if err == nil && c.Error == "" {
			var output []byte
			output, err = caseBytes(c.Output, out)
			golden = append(golden, abi.Golden{Function: c.Function, Input: input, Output: output, Tolerance: c.Tolerance})
		} else {
			c.Input = input
			refused = append(refused, c)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: cases[%d]: %w", projectFile, k, err)
		}
	}
	manifest.Golden = golden
	gated, err := withManifest(bin, manifest)
	if err != nil {
		return nil, err
	}
	m, err := isomer.New(ctx, gated, isomer.WithDeadline(caseTime), isomer.WithOutput(std.err))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var failed []error
	for _, c := range refused {
		out, err := m.Call(ctx, c.Function, c.Input)
		app, ok := errors.AsType[*isomer.AppError](err)
		switch {
		case err == nil:
			failed = append(failed, fmt.Errorf("%s %s: answers %s, want an error with %q", c.Function, c.Input, out, c.Error))
		case !ok:
			failed = append(failed, fmt.Errorf("%s %s: %w", c.Function, c.Input, err))
		case !strings.Contains(app.Message, c.Error):
			failed = append(failed, fmt.Errorf("%s %s: says %q, want %q in it", c.Function, c.Input, app.Message, c.Error))
		}
	}
	return golden, errors.Join(failed...)
}

// caseBytes are the bytes that cross the border.
func caseBytes(v json.RawMessage, e abi.Encoding) ([]byte, error) {
	if e == abi.JSON || len(v) == 0 {
		var b bytes.Buffer
		if len(v) == 0 {
			return nil, nil
		}
		err := json.Compact(&b, v)
		return b.Bytes(), err
	}
	var text string
	if err := json.Unmarshal(v, &text); err != nil {
		return nil, fmt.Errorf("want a JSON string with the text that the function takes or gives: %w", err)
	}
	return []byte(text), nil
}
