package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

func tokenHash(t fleet.JoinToken) string {
	sum := sha256.Sum256([]byte(t.Secret))
	return hex.EncodeToString(sum[:])
}

// record is what a node remembers of a module besides the links: state.json has one for each.
type record struct {
	Desired  fleet.DesiredModule `json:"desired"` // as asked for last
	Current  served              `json:"current"`
	Previous served              `json:"previous"`
	// Unproven counts ends of the agent while it opened or called Current, since that came; -1: Current has proved itself.
	Unproven int `json:"unproven"`
	// Ends counts all ends without an orderly stop since Current came, until it has proved itself.
	Ends int `json:"ends,omitempty"`
	// Tried is the release at whose gate the agent ended last.
	Tried tried `json:"tried,omitzero"`
	// Bad are releases that were refused or taken back, and are not tried again for the same deployment.
	Bad []bad `json:"bad,omitempty"`
}

// served is a release on this node.
type served struct {
	Release fleet.Ref `json:"release"`
	Digest  string    `json:"digest,omitempty"`
	Since   time.Time `json:"since"`
	// Bindings came with the release and go with it.
	Bindings []fleet.Binding `json:"bindings,omitempty"`
}

// tried counts ends of the agent while it tried a release.
type tried struct {
	Digest string `json:"digest"`
	Ends   int    `json:"ends"`
}

type bad struct {
	Digest     string            `json:"digest"`
	Deployment string            `json:"deployment"`
	State      fleet.ModuleState `json:"state"` // Refused or Reverted
	Reason     string            `json:"reason"`
}

// maxBad bounds what is remembered of refusals.
const maxBad = 16

// memory is state.json.
type memory struct {
	Modules map[string]*record `json:"modules"`
	Clean   bool               `json:"clean"` // the last agent stopped in order
}

const memoryFile = "state.json"

// loadMemory reads state.json. A damaged one is no reason not to serve: what runs is found by the links, the
// rest is learnt again.
func loadMemory(dir string) (memory, error) {
	m := memory{Modules: map[string]*record{}}
	b, err := os.ReadFile(filepath.Join(dir, memoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		m.Clean = true
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return memory{Modules: map[string]*record{}}, fmt.Errorf("%s is lost and begun anew: %w", memoryFile, err)
	}
	for name, r := range m.Modules {
		if fleet.CheckName("module", name) != nil || r == nil {
			delete(m.Modules, name)
		}
	}
	if m.Modules == nil {
		m.Modules = map[string]*record{}
	}
	return m, nil
}
