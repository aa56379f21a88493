package fleet

import (
	"encoding/json"
	"time"
)

// MaxModule is how large a module may be, in bytes: 2 GiB.
const MaxModule int64 = 2 << 30

// Desired is what one node should run. The hub writes it; the node believes of it only what the developer's
// signature confirms: that Release is signed, with this digest and size.
type Desired struct {
	Node    string          `json:"node"`
	Modules []DesiredModule `json:"modules"` // by name, each once
	// At is when the hub decided; for people, never for decisions.
	At time.Time `json:"at"`
}

// DesiredModule is one module that a node should run.
type DesiredModule struct {
	Release    Ref       `json:"release"`
	Digest     string    `json:"digest"`
	Size       int64     `json:"size"`
	Deployment string    `json:"deployment"` // which asked for it
	Bindings   []Binding `json:"bindings,omitempty"`
	// Window bounds when the node may change to it; nil: at once.
	Window *Window `json:"window,omitempty"`
	// Trace is the deployment's. One that is no traceparent is taken for none.
	Trace string `json:"trace,omitempty"`
}

// DecodeDesired reads and checks a desired state.
func DecodeDesired(b []byte) (Desired, error) {
	var d Desired
	if err := json.Unmarshal(b, &d); err != nil {
		return Desired{}, invalid("desired state: %v", err)
	}
	return d, d.Check()
}

// Check says what is wrong with the desired state.
func (d Desired) Check() error {
	if err := CheckNode(d.Node); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, m := range d.Modules {
		if err := m.Release.Check(); err != nil {
			return err
		}
		if seen[m.Release.Name] {
			return invalid("desired state of %s: module %s is there twice", d.Node, m.Release.Name)
		}
		seen[m.Release.Name] = true
		if err := CheckDigest(m.Digest); err != nil {
			return err
		}
		if m.Size <= 0 || m.Size > MaxModule {
			return invalid("desired state of %s: %s has %d bytes, want 1 to %d", d.Node, m.Release, m.Size, MaxModule)
		}
		if err := checkEach(m.Bindings); err != nil {
			return err
		}
		if m.Window != nil {
			if err := m.Window.Check(); err != nil {
				return err
			}
			if m.Window.Zone != "" && len(m.Window.Shifts) == 0 { // it would be taken for UTC
				return invalid("desired state of %s: the window of %s is in the time of %s, whose shifts are missing", d.Node, m.Release, m.Window.Zone)
			}
		}
	}
	return nil
}

// Module is the desired module called name.
func (d Desired) Module(name string) (DesiredModule, bool) {
	for _, m := range d.Modules {
		if m.Release.Name == name {
			return m, true
		}
	}
	return DesiredModule{}, false
}
