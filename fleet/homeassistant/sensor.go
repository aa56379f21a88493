package homeassistant

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/isomer-iot/isomer/fleet"
)

const (
	maxSensors    = 32       // of a node
	maxAttributes = 16 << 10 // bytes of a value that Home Assistant keeps whole
	maxState      = 255      // runes: Home Assistant refuses more
)

// sensor is the value that a binding publishes.
type sensor struct {
	node, module, binding string
	sub                   *nats.Subscription
	value                 []byte // newest; nil: shown
	numeric, announced    bool
	unit                  string
}

// bind listens to what a node's bindings publish, and no longer to what they do not.
func (b *board) bind(d fleet.Desired) {
	n := b.nodes[d.Node]
	wanted := map[string]bool{}
	for _, m := range d.Modules {
		for _, binding := range m.Bindings {
			subject := strings.ReplaceAll(binding.Publish, "{node}", d.Node)
			if !own(d.Node, subject) || len(wanted) >= maxSensors {
				continue
			}
			wanted[subject] = true
			if s := n.sensors[subject]; s != nil && s.module == m.Release.Name && s.binding == binding.Name {
				continue
			}
			b.drop(d.Node, subject)
			s := &sensor{node: d.Node, module: m.Release.Name, binding: binding.Name}
			var err error
			if s.sub, err = b.cfg.Conn.ChanSubscribe(subject, b.messages); err != nil {
				b.cfg.Log.Warn("value of a binding", "subject", subject, "error", err)
				continue
			}
			n.sensors[subject], b.values[subject] = s, s
		}
	}
	for subject := range n.sensors {
		if !wanted[subject] {
			b.drop(d.Node, subject)
		}
	}
}

// own reports whether a subject is among those that a node may publish, and one alone: a hub that says otherwise gets
// nothing shown that is another's.
func own(node, subject string) bool {
	first, rest, _ := strings.Cut(subject, ".")
	second, rest, _ := strings.Cut(rest, ".")
	return slices.Contains(fleet.OwnSubjects(), first) && second == node && rest != "" && !strings.ContainsAny(rest, "*>{} \t")
}

func (s *sensor) id() string { return "isomer_" + s.node + "_" + s.module + "_" + s.binding }

func (b *board) drop(node, subject string) {
	s := b.nodes[node].sensors[subject]
	if s == nil {
		return
	}
	_ = s.sub.Unsubscribe()
	delete(b.nodes[node].sensors, subject)
	delete(b.values, subject)
	if s.announced {
		b.set(b.configTopic("sensor", s.id()), "", true)
		delete(b.shown, b.valueTopic(s))
	}
}

func (b *board) valueTopic(s *sensor) string { return b.topic(s.node, s.module, s.binding, "value") }

func (s *sensor) take(value []byte) {
	if value == nil {
		value = []byte{}
	}
	s.value = value
}

// showValue shows the newest value. What it is decides how it is announced: numbers are drawn as curves. Values are
// not retained, since a retained message is a write to the broker's disk; Home Assistant gets the last ones
// when it says that it started.
func (b *board) showValue(s *sensor) {
	if s.value == nil {
		return
	}
	state, unit, attributes := read(s.value)
	_, number := state.(json.Number)
	if !s.announced {
		s.numeric, s.unit = number, unit
	}
	s.announced, s.value = true, nil
	e := b.entity(b.nodes[s.node].report, s.id(), s.module+" "+s.binding, b.valueTopic(s))
	e["value_template"] = "{{ value_json.state }}"
	e["json_attributes_topic"], e["json_attributes_template"] = e["state_topic"], "{{ value_json.attributes | tojson }}"
	if s.numeric {
		e["state_class"] = "measurement"
		if s.unit != "" {
			e["unit_of_measurement"] = s.unit
		}
		if !number {
			state = nil // unknown: a sensor of numbers must not say words
		}
	}
	b.setJSON(b.configTopic("sensor", s.id()), e, true)
	if attributes == nil {
		attributes = map[string]any{}
	}
	b.setJSON(b.valueTopic(s), map[string]any{"state": state, "attributes": attributes}, false)
}

// read finds the one value in an answer: the answer itself, its field "value", "state" or "label", its only field that
// is no list and no object, or its text. An object's fields become attributes.
func read(b []byte) (state any, unit string, attributes map[string]any) {
	var v any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber() // digits stay as the module wrote them
	if err := d.Decode(&v); err != nil || d.More() {
		return short(string(b), maxState), "", nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return scalar(v, b), "", nil
	}
	if len(b) <= maxAttributes {
		attributes = object
	}
	unit, _ = object["unit"].(string)
	unit = short(unit, 32)
	for _, name := range []string{"value", "state", "label"} {
		if v, ok := object[name]; ok && isScalar(v) {
			return scalar(v, nil), unit, attributes
		}
	}
	var only any
	count := 0
	for name, v := range object {
		if name != "unit" && isScalar(v) {
			only, count = v, count+1
		}
	}
	if count == 1 {
		return scalar(only, nil), unit, attributes
	}
	return short(string(b), maxState), unit, attributes
}

func isScalar(v any) bool {
	switch v.(type) {
	case json.Number, string, bool:
		return true
	}
	return false
}

func scalar(v any, text []byte) any {
	switch v := v.(type) {
	case json.Number:
		return v
	case string:
		return short(v, maxState)
	case bool:
		if v {
			return "on"
		}
		return "off"
	case nil:
		return nil
	}
	return short(string(text), maxState)
}
