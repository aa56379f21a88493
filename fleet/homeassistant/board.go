package homeassistant

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

// Bounds of what nodes can make appear: reports are theirs.
const (
	maxNodes   = 1000
	maxModules = 32 // of a node
)

// board is what Home Assistant is shown: topics and what they hold, and whom they are about. One goroutine has it.
type board struct {
	cfg      Config
	client   mqtt.Client
	messages chan *nats.Msg

	shown map[string]entry // by topic
	nodes map[string]*shownNode
	// values wait in here for their turn.
	values map[string]*sensor // by subject
}

type entry struct {
	payload  string
	retained bool
	sent     bool
}

// shownNode is a node on the board.
type shownNode struct {
	report  fleet.Report
	heard   time.Time
	online  bool
	asked   bool               // for its desired state
	sensors map[string]*sensor // by subject
	modules map[string]bool
}

func newBoard(c Config, client mqtt.Client, messages chan *nats.Msg) *board {
	b := &board{cfg: c, client: client, messages: messages, shown: map[string]entry{}, nodes: map[string]*shownNode{}, values: map[string]*sensor{}}
	b.set(b.topic(c.Name, "bridge"), online, true)
	return b
}

func (b *board) topic(parts ...string) string { return b.cfg.base() + "/" + strings.Join(parts, "/") }

// configTopic is where an entity is announced. Names of Isomer fit: letters, digits, - and _.
func (b *board) configTopic(component, id string) string {
	return b.cfg.prefix() + "/" + component + "/" + id + "/config"
}

// set shows something, at once where the broker is there and otherwise when it is. Empty retained text removes.
func (b *board) set(topic, payload string, retained bool) {
	if have, ok := b.shown[topic]; ok && have.payload == payload {
		return
	}
	b.shown[topic] = entry{payload: payload, retained: retained}
	b.send(topic)
}

func (b *board) setJSON(topic string, v any, retained bool) {
	text, err := json.Marshal(v)
	if err != nil {
		b.cfg.Log.Error("home assistant", "topic", topic, "error", err)
		return
	}
	b.set(topic, string(text), retained)
}

func (b *board) send(topic string) {
	e := b.shown[topic]
	// Nothing is given to a client without a connection: it would keep all of it in memory.
	if e.sent || !b.client.IsConnectionOpen() {
		return
	}
	if err := b.taken(b.client.Publish(topic, atLeastOnce, e.retained, e.payload)); err != nil {
		b.cfg.Log.Warn("Home Assistant's broker does not take a message", "topic", topic, "error", err)
		return // the next tick tries again
	}
	if e.payload == "" {
		delete(b.shown, topic) // gone at the broker, so here
		return
	}
	e.sent = true
	b.shown[topic] = e
}

// taken waits until the broker has a message. One that was under way when the connection broke is never answered.
func (b *board) taken(t mqtt.Token) error {
	for end := time.Now().Add(patience); !t.WaitTimeout(50 * time.Millisecond); {
		if !b.client.IsConnectionOpen() {
			return errLost
		}
		if time.Now().After(end) {
			return errSilent
		}
	}
	return t.Error()
}

var (
	errLost   = errors.New("the connection is lost")
	errSilent = errors.New("no answer")
)

// again shows all of it anew: the broker may have lost it, or Home Assistant has just started. States come after
// what announces them.
func (b *board) again() {
	for topic, e := range b.shown {
		e.sent = false
		b.shown[topic] = e
	}
	b.flush()
}

func (b *board) flush() {
	var topics []string
	for topic, e := range b.shown {
		if !e.sent {
			topics = append(topics, topic)
		}
	}
	slices.SortFunc(topics, func(x, y string) int {
		if cx, cy := strings.HasSuffix(x, "/config"), strings.HasSuffix(y, "/config"); cx != cy {
			if cx {
				return -1
			}
			return 1
		}
		return strings.Compare(x, y)
	})
	for _, topic := range topics {
		b.send(topic)
	}
}

// tick notices nodes that went silent, and shows values that waited.
func (b *board) tick(now time.Time) {
	for name, n := range b.nodes {
		if n.online && now.Sub(n.heard) > b.cfg.Offline {
			n.online = false
			b.set(b.topic(name, "status"), away, true)
		}
	}
	for _, s := range b.values {
		b.showValue(s)
	}
	b.flush()
}

// leave says that nobody tells of these nodes any more.
func (b *board) leave() {
	b.set(b.topic(b.cfg.Name, "bridge"), away, true)
}

func (b *board) close() {
	for _, s := range b.values {
		_ = s.sub.Unsubscribe()
	}
	b.client.Disconnect(250)
}

// hear takes a report, a desired state or a value.
func (b *board) hear(ctx context.Context, m *nats.Msg, now time.Time) {
	if s := b.values[m.Subject]; s != nil {
		s.take(m.Data)
		return
	}
	if node, kind, ok := fleet.ParseTelemetry(m.Subject); ok && kind == fleet.StateSubject {
		var r fleet.Report
		if err := json.Unmarshal(m.Data, &r); err != nil || r.Node != node || fleet.CheckNode(node) != nil {
			return // whoever keeps reports says so
		}
		b.report(ctx, r, now)
		return
	}
	if node, ok := strings.CutPrefix(m.Subject, fleet.DesiredSubject("")); ok {
		if d, err := fleet.DecodeDesired(m.Data); err == nil && d.Node == node && b.nodes[node] != nil {
			b.nodes[node].asked = true
			b.bind(d)
		}
	}
}

func (b *board) report(ctx context.Context, r fleet.Report, now time.Time) {
	n := b.nodes[r.Node]
	if n == nil {
		if len(b.nodes) >= maxNodes {
			return
		}
		n = &shownNode{sensors: map[string]*sensor{}, modules: map[string]bool{}}
		b.nodes[r.Node] = n
	}
	n.report, n.heard, n.online = r, now, true
	modules := map[string]bool{}
	for _, m := range r.Modules {
		if fleet.CheckName("module", m.Name) == nil && len(modules) < maxModules {
			modules[m.Name] = true
			b.module(n, m)
		}
	}
	for name := range n.modules {
		if !modules[name] {
			b.forget(r.Node, name)
		}
	}
	n.modules = modules
	b.set(b.topic(r.Node, "status"), online, true)
	if !n.asked && b.cfg.Desired != nil && len(modules) > 0 {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if d, err := b.cfg.Desired(ctx, r.Node); err == nil {
			n.asked = true
			b.bind(d)
		}
	}
}

// device is what ties a node's entities together.
func (b *board) device(r fleet.Report) map[string]any {
	d := map[string]any{
		"identifiers": []string{"isomer_" + r.Node}, "name": r.Node, "manufacturer": "Isomer",
		"model": string(r.Layer) + ", " + r.OS + "/" + r.Arch, "sw_version": r.Agent,
	}
	if r.Via != "" && r.Via != r.Node {
		d["via_device"] = "isomer_" + r.Via
	}
	return d
}

// entity is what every announcement has.
func (b *board) entity(r fleet.Report, id, name, state string) map[string]any {
	return map[string]any{
		"unique_id": id, "name": name, "state_topic": state, "qos": atLeastOnce,
		"device": b.device(r), "origin": map[string]string{"name": "Isomer", "sw_version": r.Agent},
		"availability_mode": "all",
		"availability":      []map[string]string{{"topic": b.topic(b.cfg.Name, "bridge")}, {"topic": b.topic(r.Node, "status")}},
	}
}

func updateID(node, module string) string { return "isomer_" + node + "_" + module + "_update" }

// module shows which version of a module a node has, and which it should have.
func (b *board) module(n *shownNode, m fleet.ModuleReport) {
	r := n.report
	state, attributes := b.topic(r.Node, m.Name, "update"), b.topic(r.Node, m.Name, "attributes")
	e := b.entity(r, updateID(r.Node, m.Name), m.Name, state)
	e["title"], e["json_attributes_topic"] = m.Name, attributes
	b.setJSON(b.configTopic("update", updateID(r.Node, m.Name)), e, true)

	latest := m.Desired
	if latest.IsZero() {
		latest = m.Release
	}
	s := map[string]any{
		"installed_version": version(m.Release), "latest_version": version(latest),
		"in_progress":     m.State == fleet.Fetching || m.State == fleet.Checking,
		"release_summary": short(m.Reason, 255), // more is refused
	}
	b.setJSON(state, s, true)
	b.setJSON(attributes, map[string]any{
		"state": m.State, "reason": short(m.Reason, 1000), "digest": m.Digest, "deployment": m.Deployment,
		"since": m.Since.UTC().Format(time.RFC3339), "previous_version": version(m.Previous),
	}, true)
}

// version is nil where there is none, which Home Assistant calls unknown.
func version(r fleet.Ref) any {
	if r.IsZero() {
		return nil
	}
	return r.Version
}

// forget removes what a node no longer has.
func (b *board) forget(node, module string) {
	b.set(b.configTopic("update", updateID(node, module)), "", true)
	b.set(b.topic(node, module, "update"), "", true)
	b.set(b.topic(node, module, "attributes"), "", true)
	for subject, s := range b.nodes[node].sensors {
		if s.module == module {
			b.drop(node, subject)
		}
	}
}

// short cuts text at a number of runes.
func short(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
