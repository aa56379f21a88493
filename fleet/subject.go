package fleet

import (
	"fmt"
	"strings"
)

// Buckets and streams of the hub's JetStream domain.
const (
	Domain = "hub" // JetStream domain of the hub; an edge's is its name

	ModulesBucket     = "modules"     // object store: module files by digest
	TrustBucket       = "trust"       // KV: TUF metadata by file name
	ReleasesBucket    = "releases"    // KV: Release by name.version, the version's dots and pluses escaped (ReleaseKey)
	DeploymentsBucket = "deployments" // KV: Deployment by ID
	RolloutsBucket    = "rollouts"    // KV: Rollout by deployment
	DesiredBucket     = "desired"     // KV: Desired by node, republished on DesiredSubject
	NodesBucket       = "nodes"       // KV: the last Report by node
	MembersBucket     = "members"     // KV: who was enrolled, by node
	JoinsBucket       = "joins"       // KV: join tokens by the SHA-256 of their secret
	AccessBucket      = "access"      // KV: API tokens by the SHA-256 of their secret
	AccountBucket     = "account"     // KV: the account's JWT, with its revocations
	LeaseBucket       = "lease"       // KV: who leads

	TelemetryStream = "TELE"  // tele.>, at the hub and at each edge
	AuditStream     = "AUDIT" // audit.>
)

// DesiredSubject is where a node's Desired is published when it changes.
func DesiredSubject(node string) string { return "cfg." + node }

// AccountSubject is where the account's claims are published when they change: edges listen, so that whom the
// hub revoked does not come in there.
func AccountSubject() string { return "account.fleet" }

// The kinds of telemetry.
const (
	StateSubject  = "state"  // Report
	EventSubject  = "event"  // NodeEvent
	LogSubject    = "log"    // LogLine
	MetricSubject = "metric" // what modules and bindings measure
	DeadSubject   = "dead"   // dead letters of bindings
)

// TelemetrySubject is where a node publishes telemetry of a kind.
func TelemetrySubject(node, kind string) string { return "tele." + node + "." + kind }

// DeadLetterSubject is where a node sends what a binding could not get answered.
func DeadLetterSubject(node, module, binding string) string {
	return TelemetrySubject(node, DeadSubject) + "." + module + "." + binding
}

// ParseTelemetry takes a telemetry subject apart: the kind is what follows the node.
func ParseTelemetry(subject string) (node, kind string, ok bool) {
	rest, ok := strings.CutPrefix(subject, "tele.")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

// CallSubject is where a node answers calls of a module's function.
func CallSubject(node, module, function string) string {
	return fmt.Sprintf("call.%s.%s.%s", node, module, function)
}

// AnyCallSubject is where any one node of a layer answers.
func AnyCallSubject(layer Layer, module, function string) string {
	return fmt.Sprintf("call.any.%s.%s.%s", layer, module, function)
}

// OwnSubjects are the first parts of subjects that belong to a node when its name is the second, such as
// sensors.<node>.frame: what its bindings, modules, programs and microcontrollers may use. They are listed, since a
// pattern for any first part would reach the buckets of NATS too.
func OwnSubjects() []string { return []string{"sensors", "meters", "actuators", "app"} }

// LogsSubject is where a node answers a LogRequest. It has three parts where calls have four.
func LogsSubject(node string) string { return "call." + node + ".logs" }

// EnrolSubject is where an edge passes on the EnrolRequest of a device that cannot reach the hub itself.
const EnrolSubject = "enrol"

// AnswersTo reports whether a service may answer a node there: at the inbox of a node. Services have more rights
// than who asks them, and a server does not look at where an answer is wanted: without this a device could have the
// hub delete a stream, or speak to another node.
func AnswersTo(reply string) bool {
	rest, ok := strings.CutPrefix(reply, inbox)
	node, token, _ := strings.Cut(rest, ".")
	return ok && CheckNode(node) == nil && token != "" && !strings.ContainsAny(token, "*> \t\r\n")
}

const inbox = "_INBOX_"

// Inbox is the prefix of a node's inboxes: where answers to its requests are delivered.
func Inbox(node string) string { return inbox + node }

// CallInbox begins the inboxes of the hub's calls to nodes. They are apart from its others since edges may publish
// there: the answers of their devices.
const CallInbox = "_CALL"

// Headers of calls and their answers.
const (
	EncodingHeader = "Isomer-Encoding" // MIME type of the payload: application/json, image/jpeg, image/png, application/octet-stream
	NodeHeader     = "Isomer-Node"     // that answered
	ReleaseHeader  = "Isomer-Release"  // that answered
	DigestHeader   = "Isomer-Digest"   // of that release
	TookHeader     = "Isomer-Took"     // time in the bridge, as Go's durations, such as 1.8ms
)

// FetchSubject is where from, the hub ("hub") or an edge by its name, hands out what nodes fetch: kind is "module", what a
// digest; or kind is "trust", what a TUF file name as TrustKey writes it; or kind is "desired", what the node's name; or
// kind is "account", what "fleet": the account's claims, for edges; or kind is "link", what an edge's name: it says that
// its link is up again, and gets an empty answer.
func FetchSubject(from, kind, what string) string {
	return fmt.Sprintf("fetch.%s.%s.%s", from, kind, what)
}

// ReleaseKey is the key of a release in ReleasesBucket.
func ReleaseKey(r Ref) string {
	return r.Name + "." + strings.NewReplacer("_", "__", ".", "_d", "+", "_p").Replace(r.Version)
}

// checkSubject says what is wrong with a subject of NATS; "{node}" may stand for a token.
func checkSubject(s string, wildcards bool) error {
	if len(s) > 255 {
		return fmt.Errorf("subject %.20q… has %d bytes, at most 255 are allowed", s, len(s))
	}
	tokens := strings.Split(s, ".")
	for i, t := range tokens {
		switch {
		case t == "":
			return fmt.Errorf("subject %q has an empty part", s)
		case t == "{node}":
		case t == "*" || t == ">":
			if !wildcards {
				return fmt.Errorf("subject %q: one cannot publish to a wildcard", s)
			}
			if t == ">" && i != len(tokens)-1 {
				return fmt.Errorf("subject %q: > stands at the end only", s)
			}
		case strings.ContainsAny(t, "*> \t\r\n{}") || t[0] == '$':
			return fmt.Errorf("subject %q: part %q has a character that subjects cannot have there", s, t)
		}
	}
	return nil
}
