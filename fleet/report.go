package fleet

import "time"

// Report is what a node tells of itself, at each change and every ReportEvery.
type Report struct {
	Node   string `json:"node"`
	Layer  Layer  `json:"layer"`
	Labels Labels `json:"labels,omitempty"`
	Via    string `json:"via,omitempty"` // the edge that it is connected through; empty: the hub itself

	Boot     string    `json:"boot"`     // random, one for each start of the agent
	Sequence uint64    `json:"sequence"` // of this boot's reports, from 1
	At       time.Time `json:"at"`       // by the node's clock, which may be wrong
	Started  time.Time `json:"started"`

	Agent    string   `json:"agent"` // version of Isomer
	Engine   string   `json:"engine"`
	OS       string   `json:"os"`
	Arch     string   `json:"arch"`
	Features []string `json:"features,omitempty"`  // of WebAssembly that the engine has
	Address  []string `json:"addresses,omitempty"` // an edge's listeners for its devices

	Modules []ModuleReport `json:"modules"`
	// Saving is why the node does less than it could, such as "hidden" and "battery" of one in a browser: it reports half as often.
	Saving   []string `json:"saving,omitempty"`
	Problems []string `json:"problems,omitempty"` // that concern the node as a whole, such as a full disk
}

// ReportEvery is how often a node reports when nothing changes. A node that was silent for three times as
// long counts as offline.
const ReportEvery = 30 * time.Second

// ModuleState says how far a node is with a module.
type ModuleState string

// The states of a module on a node.
const (
	Fetching ModuleState = "fetching" // Desired is on its way
	Waiting  ModuleState = "waiting"  // for its maintenance window
	Checking ModuleState = "checking" // signature, digest, gate
	Running  ModuleState = "running"  // Desired serves
	Refused  ModuleState = "refused"  // Desired failed: Reason; what served before serves on
	Reverted ModuleState = "reverted" // Desired served and was taken back: Reason
	Failed   ModuleState = "failed"   // nothing could be done for now, tried again: Reason
)

// Settled reports whether the node is done with what it was asked for.
func (s ModuleState) Settled() bool { return s == Running || s == Refused || s == Reverted }

// ModuleReport is one module on a node. Desired is empty where a module that is no longer wanted still serves.
type ModuleReport struct {
	Name       string      `json:"name"`
	State      ModuleState `json:"state"`
	Desired    Ref         `json:"desired"`              // what the node was asked for
	Deployment string      `json:"deployment,omitempty"` // that asked
	Reason     string      `json:"reason,omitempty"`

	Release Ref       `json:"release"` // that serves; empty: none
	Digest  string    `json:"digest,omitempty"`
	Since   time.Time `json:"since"` // of Release
	Stats   CallStats `json:"stats"` // since then

	Previous      Ref       `json:"previous"`      // that served before
	PreviousStats CallStats `json:"previousStats"` // over its last period of service

	Bindings []BindingReport `json:"bindings,omitempty"`
}

// BindingReport is what a binding did since the agent started.
type BindingReport struct {
	Name     string `json:"name"`
	Local    bool   `json:"local,omitempty"` // of the node's own file, not of the deployment
	Received uint64 `json:"received"`
	Answered uint64 `json:"answered"`
	Retried  uint64 `json:"retried"`
	Dead     uint64 `json:"dead"`    // failed for good: dead letters
	Dropped  uint64 `json:"dropped"` // since the queue was full, or a timer's last call still ran
	Unsent   uint64 `json:"unsent"`  // answers that no connection took
	Waiting  int    `json:"waiting"`
	Problem  string `json:"problem,omitempty"` // why it does not work
}

// DeadLetter is an input that no call answered, at DeadLetterSubject.
type DeadLetter struct {
	Node     string    `json:"node"`
	Module   string    `json:"module"`
	Binding  string    `json:"binding"`
	From     string    `json:"from"` // subject, path, file or time that it came from
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
	Size     int       `json:"size"`
	Body     []byte    `json:"body,omitempty"` // where it has at most MaxDeadBody
}

// MaxDeadBody is how large an input is at most that a dead letter carries: with base64 it fits a message of 512 KiB.
const MaxDeadBody = 256 << 10

// CallStats are the calls of one release on one node.
type CallStats struct {
	Calls  uint64 `json:"calls"`
	Failed uint64 `json:"failed"` // by trap or limit; an application's own error is none
	// P50 and P95 are of the latency, in microseconds; 0 without calls.
	P50 float64 `json:"p50us"`
	P95 float64 `json:"p95us"`
}

// NodeEvent is something that happened on a node.
type NodeEvent struct {
	Node    string    `json:"node"`
	Kind    string    `json:"kind"` // such as "swapped", "refused", "reverted", "fetched", "started"
	Module  string    `json:"module,omitempty"`
	Release Ref       `json:"release"`
	Reason  string    `json:"reason,omitempty"`
	At      time.Time `json:"at"`
}

// Denied is the kind of an event that tells of an attempt which the node, or the broker on it, refused: Module says what was
// attempted, Reason why it was refused.
const Denied = "denied"

// LogLine is one line of a node's or a guest's log.
type LogLine struct {
	Node    string    `json:"node"`
	Module  string    `json:"module,omitempty"` // empty: the agent's own
	Level   string    `json:"level"`            // debug, info, warn or error
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// LogRequest asks a node, at LogsSubject, for the lines that it keeps in memory; the answer is a list of
// LogLine, the newest last.
type LogRequest struct {
	// Follow makes the node publish each further line on its telemetry for LogFollow from now.
	Follow bool `json:"follow,omitempty"`
	// Brief answers with an empty list, to go on following.
	Brief bool `json:"brief,omitempty"`
}

// LogFollow is how long a node publishes its lines after it was asked to.
const LogFollow = 30 * time.Second
