package isomer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/engine"
)

// program is what a command reads and writes: its input is standard input, its answer what it wrote to
// standard output. It belongs to one instance and serves one call, because a command runs once.
type program struct {
	in    bytes.Reader
	out   answer
	spent bool
	why   purpose
}

func (r *release) isCommand() bool {
	return slices.ContainsFunc(r.funcs, func(f function) bool { return f.Convention == abi.Command })
}

// newProgram puts the program of a command into what its instance is granted.
func newProgram(r *release, why purpose, w *engine.WASI) *program {
	p := &program{why: why}
	w.Stdin, w.Stdout, w.Args = &p.in, &p.out, []string{r.name}
	return p
}

// command runs a command in an instance that has not run yet, which is then of no more use.
func (c *call) command(dst, in []byte, limit int) ([]byte, error) {
	i := c.s.inst
	if i.program.spent { // golden cases and shadows call several times
		fresh, err := c.m.instanceFor(c.ctx, c.g.release, i.program.why)
		if err != nil {
			return nil, err
		}
		_ = i.sandbox.Close()
		*i = *fresh
	}
	p := i.program
	p.spent = true
	p.in.Reset(in)
	p.out.limit = limit
	err := i.calls[c.f.index].call.Call(c.ctx, i.stack)
	if exit := (*engine.ExitError)(nil); errors.As(err, &exit) {
		if exit.Code != 0 {
			return nil, guestError(i.said.exited(exit.Code))
		}
	} else if err != nil {
		return nil, err
	}
	return append(dst[:0], p.out.b...), nil // dst may be where the input lay
}

// discard closes an instance that ran its command. The next call makes its own: a device that waits for
// one keeps no memory for it meanwhile.
func (c *call) discard() {
	_ = c.s.inst.sandbox.Close()
	c.s.inst = nil
}

// answer is standard output up to a limit.
type answer struct {
	b     []byte
	limit int
}

func (a *answer) Write(b []byte) (int, error) {
	if len(a.b)+len(b) > a.limit {
		return 0, errOutput(len(a.b)+len(b), a.limit)
	}
	a.b = append(a.b, b...)
	return len(b), nil
}

// maxMessage is how much of standard error becomes the message of an *AppError: some 20 lines.
const maxMessage = 2 << 10

// tail keeps the end of what was written.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	if len(b) >= maxMessage {
		t.b = append(t.b[:0], b[len(b)-maxMessage:]...)
		return len(b), nil
	}
	if over := len(t.b) + len(b) - maxMessage; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	t.b = append(t.b, b...)
	return len(b), nil
}

// listen has t keep the end of standard error too.
func (t *tail) listen(w *engine.WASI) {
	if w.Stderr == nil {
		w.Stderr = t
	} else {
		w.Stderr = io.MultiWriter(t, w.Stderr)
	}
}

// forget begins a call.
func (t *tail) forget() {
	if t != nil && len(t.b) > 0 {
		t.b = t.b[:0]
	}
}

// String is the end of standard error in whole lines. t may be nil.
func (t *tail) String() string {
	if t == nil {
		return ""
	}
	text := t.b
	if len(text) == maxMessage {
		if _, rest, ok := bytes.Cut(text, []byte("\n")); ok {
			text = rest
		}
	}
	return string(bytes.ToValidUTF8(bytes.TrimSpace(text), []byte("\uFFFD")))
}

// exited is the message of a command that ended with code.
func (t *tail) exited(code uint32) string {
	text := t.String()
	if text == "" {
		return fmt.Sprintf("exit code %d", code)
	}
	return fmt.Sprintf("exit code %d: %s", code, text)
}
