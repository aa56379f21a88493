package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/examples/meter"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/node"
)

// coreApp is the core application of a node: it reads the meter's frames with the fleet's module, and keeps
// account.
type coreApp struct {
	who    fleet.Enrolment
	agent  *node.Agent
	meter  *meter.Meter
	module *isomer.Module // of the frame that is being read
	calls  []timedCall
	failed int
	errs   []string
	frame  []byte            // the answers of the frame that is being read
	digest map[string]string // "version/frame" → SHA-256 of its answers
	read   int
	right  int
	serves string // the module's digest at the last frame
	swaps  []time.Time
	last   isomer.Stats
}

type timedCall struct {
	at   time.Time
	took time.Duration
}

func newCoreApp(who fleet.Enrolment, agent *node.Agent) (*coreApp, error) {
	m, err := meter.Demo()
	return &coreApp{who: who, agent: agent, meter: m, digest: map[string]string{}}, err
}

// run reads frames until ctx ends; the last one to its end. Between frames it tells how it stands when it is asked.
func (a *coreApp) run(ctx context.Context, rate int, asked <-chan struct{}, tell func() error) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-asked:
			if err := tell(); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return nil
		}
		if a.module = a.agent.Module(demoModule); a.module == nil {
			continue // the fleet has sent none yet
		}
		a.readFrame(n % len(a.meter.Frames))
		n++
		a.last = a.module.Stats()
		if a.serves != "" && a.serves != a.last.Digest {
			a.swaps = append(a.swaps, time.Now())
		}
		a.serves = a.last.Digest
	}
}

// readFrame reads frame i. Its answers are compared between nodes where one version gave them all.
func (a *coreApp) readFrame(i int) {
	ctx, before := context.Background(), a.module.Version()
	a.frame = a.frame[:0]
	f := a.meter.Frames[i]
	r, err := (&meter.Reader{Module: a, Regions: a.meter.Regions, Decimals: a.meter.Decimals}).Read(ctx, f.Picture)
	if err != nil {
		return // counted by CallImage
	}
	a.read++
	if r.Digits == f.Reading {
		a.right++
	}
	if a.module.Version() == before {
		sum := sha256.Sum256(a.frame)
		key, digest := fmt.Sprintf("%s/%02d", before, i), hex.EncodeToString(sum[:])
		if have, ok := a.digest[key]; ok && have != digest {
			a.errs = append(a.errs, fmt.Sprintf("frame %d gave another answer the second time", i))
		}
		a.digest[key] = digest
	}
}

// CallImage is the module's, with its time and outcome written down.
func (a *coreApp) CallImage(ctx context.Context, fn string, img isomer.Image) ([]byte, error) {
	began := time.Now()
	out, err := a.module.CallImage(ctx, fn, img)
	a.calls = append(a.calls, timedCall{began, time.Since(began)})
	if err != nil {
		a.failed++
		if len(a.errs) < 10 {
			a.errs = append(a.errs, err.Error())
		}
		return nil, err
	}
	a.frame = append(a.frame, out...)
	return out, nil
}

// around is how far from the moment of a swap a call counts as one during it.
const around = 500 * time.Millisecond

func (a *coreApp) report() nodeReport {
	r := nodeReport{
		Node: a.who.Node, Layer: a.who.Layer, Module: demoModule, Version: a.last.Version, SHA256: a.last.Digest,
		Calls: len(a.calls), Failed: a.failed, Errors: a.errs, Frames: a.read, Right: a.right,
		Swaps: int(a.last.Swaps), SwapTime: a.last.LastSwap.Total, CompileTime: a.last.LastSwap.Compile, Answers: a.digest,
	}
	var calm, swapping []time.Duration
	for _, c := range a.calls {
		if slices.ContainsFunc(a.swaps, func(at time.Time) bool { return c.at.Sub(at).Abs() < around }) {
			swapping = append(swapping, c.took)
		} else {
			calm = append(calm, c.took)
		}
	}
	r.Calm, r.During = percentiles(calm), percentiles(swapping)
	return r
}

func percentiles(took []time.Duration) latency {
	if len(took) == 0 {
		return latency{}
	}
	slices.Sort(took)
	return latency{Calls: len(took), P50: took[len(took)/2], P99: took[(len(took)-1)*99/100]}
}
