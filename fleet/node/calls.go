package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // pictures come as files
	_ "image/png"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/trace"
)

// Answer is what a module answered.
type Answer struct {
	Body     []byte
	Encoding string // MIME type
	Release  string // name@version
	Digest   string
	Took     time.Duration
}

// ErrNoModule is a call of a module that does not serve here.
var ErrNoModule = errors.New("no such module serves here")

// maxPixels bounds pictures in calls: what a camera of 50 megapixels takes.
const maxPixels = 64 << 20

// Call calls a function with a payload of a MIME type: image/jpeg and image/png become pictures where the
// function takes one, everything else is passed as it is.
func (a *Agent) Call(ctx context.Context, module, function, encoding string, body []byte) (Answer, error) {
	return a.traced(ctx, trace.Internal, module, function, encoding, body)
}

// traced makes a span of a call.
func (a *Agent) traced(ctx context.Context, kind trace.Kind, module, function, encoding string, body []byte) (Answer, error) {
	ctx, span := a.cfg.Trace.Start(ctx, "call "+module+"."+function, kind, slog.String("isomer.node", a.node), slog.Int("isomer.input.bytes", len(body)))
	got, err := a.call(ctx, module, function, encoding, body)
	span.Set(slog.String("isomer.release", got.Release), slog.String("isomer.digest", got.Digest), slog.Int("isomer.output.bytes", len(got.Body)),
		slog.String("isomer.outcome", string(isomer.OutcomeOf(err))))
	span.End(err)
	return got, err
}

func (a *Agent) call(ctx context.Context, module, function, encoding string, body []byte) (Answer, error) {
	m := a.Module(module)
	if m == nil {
		return Answer{}, fmt.Errorf("%w: %s", ErrNoModule, module)
	}
	fn, found := describe(m, function)
	began := time.Now()
	var out []byte
	var err error
	var by string
	ctx = context.WithValue(ctx, answeredBy{}, &by)
	if found && (fn.Convention == abi.Image || fn.Convention == abi.WasmtubeImage) {
		var picture isomer.Image
		if picture, err = decode(encoding, body); err != nil {
			return Answer{}, err
		}
		out, err = m.CallImage(ctx, function, picture)
	} else {
		out, err = m.Call(ctx, function, body)
	}
	answer := Answer{Body: out, Encoding: "application/octet-stream", Release: a.releaseOf(module, by), Digest: by, Took: time.Since(began)}
	if _, enc := fn.Encodings(); found && enc == abi.JSON {
		answer.Encoding = "application/json"
	}
	return answer, err
}

func describe(m *isomer.Module, function string) (abi.Function, bool) {
	for _, f := range m.Functions() {
		if f.Name == function {
			return f, true
		}
	}
	return abi.Function{}, false
}

// releaseOf is the name of what has the digest, the present release or the one before.
func (a *Agent) releaseOf(module, digest string) string {
	a.mu.Lock()
	k := a.keep[module]
	a.mu.Unlock()
	if k == nil {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range []served{k.rec.Current, k.rec.Previous} {
		if s.Digest == digest && !s.Release.IsZero() {
			return s.Release.String()
		}
	}
	return ""
}

func decode(encoding string, body []byte) (isomer.Image, error) {
	if encoding != "" && !strings.HasPrefix(encoding, "image/") {
		return isomer.Image{}, fmt.Errorf("%w: the function takes a picture (image/jpeg or image/png), and got %s", isomer.ErrArgument, encoding)
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(body))
	if err == nil && int64(c.Width)*int64(c.Height) > maxPixels {
		err = fmt.Errorf("%d×%d pixels are more than %d", c.Width, c.Height, maxPixels)
	}
	var img image.Image
	if err == nil {
		img, _, err = image.Decode(bytes.NewReader(body))
	}
	if err != nil {
		return isomer.Image{}, fmt.Errorf("%w: picture: %w", isomer.ErrArgument, err)
	}
	return isomer.ImageOf(img), nil
}

// service is what answers calls from afar for one module.
type service struct {
	micro micro.Service
	slots chan struct{}
}

// parallelCalls are those from afar that may wait for one module at once.
const parallelCalls = 64

// offer makes a module callable from afar. Doing it again changes nothing.
func (a *Agent) offer(k *keeper) error {
	nc := a.conn()
	if nc == nil {
		return nil // Run does it
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.services[k.name] != nil {
		return nil
	}
	s := &service{slots: make(chan struct{}, parallelCalls)}
	var err error
	s.micro, err = micro.AddService(nc, micro.Config{
		Name: "isomer-" + k.name, Version: "1.0.0", Description: "Module " + k.name + " on node " + a.node,
		Metadata: map[string]string{"node": a.node, "module": k.name},
	})
	if err != nil {
		return err
	}
	handler := micro.HandlerFunc(func(r micro.Request) { a.answer(s, r) })
	layer := a.cfg.Identity.Enrolment.Layer
	err = errors.Join(
		s.micro.AddEndpoint("call", handler, micro.WithEndpointSubject(fleet.CallSubject(a.node, k.name, "*")), micro.WithEndpointQueueGroup(a.node)),
		s.micro.AddEndpoint("any", handler, micro.WithEndpointSubject(fleet.AnyCallSubject(layer, k.name, "*")), micro.WithEndpointQueueGroup("any")),
	)
	if err != nil {
		return errors.Join(err, s.micro.Stop())
	}
	a.services[k.name] = s
	return nil
}

// withdraw ends what offer began.
func (a *Agent) withdraw(module string) {
	a.mu.Lock()
	s := a.services[module]
	delete(a.services, module)
	a.mu.Unlock()
	if s != nil {
		if err := s.micro.Stop(); err != nil {
			a.log.Debug("calls from afar", "module", module, "error", err)
		}
	}
}

// remoteDeadline bounds a call from afar: whoever asked is gone by then.
const remoteDeadline = 2 * time.Minute

// answer serves one call. Calls run beside each other, as many as there are instances; the others wait in the
// module's queue.
func (a *Agent) answer(s *service, r micro.Request) {
	parts := strings.Split(r.Subject(), ".")
	module, function := parts[len(parts)-2], parts[len(parts)-1]
	select {
	case s.slots <- struct{}{}:
	default:
		_ = r.Error("503", "too many calls wait on "+a.node, nil)
		return
	}
	go func() {
		defer func() { <-s.slots }()
		ctx, cancel := context.WithTimeout(trace.Extract(context.Background(), r.Headers()), remoteDeadline)
		defer cancel()
		got, err := a.traced(ctx, trace.Server, module, function, r.Headers().Get(fleet.EncodingHeader), r.Data())
		header := micro.Headers{
			fleet.NodeHeader: {a.node}, fleet.ReleaseHeader: {got.Release}, fleet.DigestHeader: {got.Digest},
			fleet.TookHeader: {got.Took.String()}, fleet.EncodingHeader: {got.Encoding},
		}
		if err != nil {
			err = r.Error(code(err), err.Error(), nil, micro.WithHeaders(header))
		} else {
			err = r.Respond(got.Body, micro.WithHeaders(header))
		}
		if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			a.log.Debug("answer", "subject", r.Subject(), "error", err)
		}
	}()
}

// code is an error's number as HTTP would have it.
func code(err error) string {
	switch isomer.OutcomeOf(err) {
	case isomer.OutcomeNoFunction:
		return "404"
	case isomer.OutcomeArgument:
		return "400"
	case isomer.OutcomeApp:
		return "422"
	case isomer.OutcomeBusy:
		return "503"
	case isomer.OutcomeLimit, isomer.OutcomeCanceled:
		return "504"
	}
	if errors.Is(err, ErrNoModule) {
		return "404"
	}
	return "500"
}
