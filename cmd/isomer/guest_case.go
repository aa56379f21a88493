package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// caseResult is what came of one case.
type caseResult struct {
	Case     int    `json:"case"` // its place in isomer.json
	Function string `json:"function"`
	Passed   bool   `json:"passed"`
	Error    string `json:"error,omitempty"` // how the answer differs
}

// failedCases is the error of cases that did not pass.
type failedCases struct{ results []caseResult }

func (e *failedCases) Error() string {
	var lines []string
	for _, r := range e.results {
		if !r.Passed {
			lines = append(lines, r.String())
		}
	}
	return strings.Join(lines, "\n")
}

func (r caseResult) String() string {
	if r.Passed {
		return fmt.Sprintf("cases[%d] %s: passed", r.Case, r.Function)
	}
	return fmt.Sprintf("cases[%d] %s: %s", r.Case, r.Function, r.Error)
}

// tryCases calls the module with all cases and gives the golden ones. A case that fails is a *failedCases.
func tryCases(ctx context.Context, bin []byte, p project, opts []isomer.Option) ([]abi.Golden, []caseResult, error) {
	golden, places, err := p.golden()
	if err != nil {
		return nil, nil, err
	}
	results := make([]caseResult, len(p.Cases))
	for k, c := range p.Cases {
		results[k] = caseResult{Case: k, Function: c.Function, Passed: true}
	}
	manifest := p.manifest()
	manifest.Golden = golden
	gated, err := withManifest(bin, manifest)
	if err != nil {
		return nil, nil, err
	}
	// The bridge tries the golden cases itself, as every host will.
	opts = append(slices.Clone(opts), isomer.WithDeadline(caseTime))
	m, err := isomer.New(ctx, gated, opts...)
	if failed := gateFailures(err, len(golden)); len(failed) > 0 {
		for k, place := range places {
			if f := failed[k]; f != "" {
				results[place].Passed, results[place].Error = false, f
			}
		}
		manifest.Golden = nil
		if gated, err = withManifest(bin, manifest); err != nil {
			return nil, nil, err
		}
		m, err = isomer.New(ctx, gated, opts...)
	}
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	for k, c := range p.Cases {
		if c.Error != "" {
			if err := c.refusal(ctx, m, p); err != nil {
				results[k].Passed, results[k].Error = false, err.Error()
			}
		}
	}
	for _, r := range results {
		if !r.Passed {
			return nil, results, &failedCases{results}
		}
	}
	return golden, results, nil
}

// golden are the cases with an output, and their places in the list.
func (p project) golden() (out []abi.Golden, places []int, err error) {
	manifest := p.manifest()
	for k, c := range p.Cases {
		f, ok := manifest.Function(c.Function)
		if !ok || (c.Error == "") == (c.Output == nil) || f.Convention == abi.Image || f.Convention == abi.WasmtubeImage {
			return nil, nil, fmt.Errorf("%s: cases[%d]: want a function of the list that takes no picture, and either output or error", projectFile, k)
		}
		in, encoding := f.Encodings()
		input, err := caseBytes(c.Input, in)
		if err == nil && c.Error == "" {
			var output []byte
			output, err = caseBytes(c.Output, encoding)
			out = append(out, abi.Golden{Function: c.Function, Input: input, Output: output, Tolerance: c.Tolerance})
			places = append(places, k)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: cases[%d]: %w", projectFile, k, err)
		}
	}
	return out, places, nil
}

// gateFailures takes the failures of golden cases out of a refusal, by the case's number; empty where it was
// refused for another reason.
func gateFailures(err error, cases int) map[int]string {
	refused, ok := errors.AsType[*isomer.RefusedError](err)
	if !ok || refused.Step != isomer.StepGate {
		return nil
	}
	joined, ok := refused.Cause.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	out := map[int]string{}
	for _, e := range joined.Unwrap() {
		g, ok := errors.AsType[*isomer.GoldenError](e)
		if !ok {
			return nil
		}
		out[g.Index] = g.Cause.Error()
		if as[*isomer.TrapError](e) || as[*isomer.LimitError](e) {
			// The instance died, and the bridge tries no case behind this one.
			for later := g.Index + 1; later < cases; later++ {
				out[later] = fmt.Sprintf("not tried, golden case %d ended the instance", g.Index)
			}
		}
	}
	return out
}

// refusal calls a function that has to say no.
func (c guestCase) refusal(ctx context.Context, m *isomer.Module, p project) error {
	f, _ := p.manifest().Function(c.Function)
	in, _ := f.Encodings()
	input, err := caseBytes(c.Input, in)
	if err != nil {
		return err
	}
	out, err := m.Call(ctx, c.Function, input)
	app, ok := errors.AsType[*isomer.AppError](err)
	switch {
	case err == nil:
		return fmt.Errorf("answers %.200q, want an error with %q", out, c.Error)
	case !ok:
		return err
	case !strings.Contains(app.Message, c.Error):
		return fmt.Errorf("says %q, want %q in it", app.Message, c.Error)
	}
	return nil
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
