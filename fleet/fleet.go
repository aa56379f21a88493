// Package fleet has the words that the parts of a fleet exchange: names, releases, desired and reported
// state, deployments and rollouts, and the subjects and buckets that carry them. Use it to speak to a hub or
// a node of Isomer from Go; never for the work itself, which fleet/hub, fleet/edge, fleet/node and
// fleet/trust do.
//
// Everything here is plain data with JSON encodings; unknown fields are ignored when read, so that nodes and
// hubs of neighbouring versions understand each other.
//
// Compatibility: v0, fields and subjects may change until 1.0.
package fleet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrInvalid is what every error about a name, reference, selector or document unwraps to.
var ErrInvalid = errors.New("invalid")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Layer is where a node stands between the things and the data centre.
type Layer string

// The layers, from the things upwards.
const (
	Device Layer = "device"
	Mobile Layer = "mobile"
	Edge   Layer = "edge"
	Cloud  Layer = "cloud"
)

// Layers are all layers, from the things upwards.
func Layers() []Layer { return []Layer{Device, Mobile, Edge, Cloud} }

// ParseLayer reads a layer's name.
func ParseLayer(s string) (Layer, error) {
	if l := Layer(s); slices.Contains(Layers(), l) {
		return l, nil
	}
	return "", invalid("layer %q is none of device, mobile, edge, cloud", s)
}

// maxName is how long names of nodes, modules and labels may be, in bytes.
const maxName = 63

// CheckName says whether s can name a node, a module or a rollout: 1 to 63 lower-case letters, digits, '-'
// and '_', beginning with a letter or digit. Such a name is one token of a NATS subject, one level of an MQTT topic, a file name
// and a DNS label (but for '_') at once. what goes into the error, such as "node".
func CheckName(what, s string) error {
	if s == "" {
		return invalid("%s has no name", what)
	}
	if len(s) > maxName {
		return invalid("%s name %.20q… has %d bytes, at most %d are allowed", what, s, len(s), maxName)
	}
	for i, c := range []byte(s) {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || i > 0 && (c == '-' || c == '_') {
			continue
		}
		return invalid("%s name %q: use lower-case letters, digits, '-' and '_', beginning with a letter or digit", what, s)
	}
	return nil
}

// Reserved are names that no node may have: they stand for something else where a node's name may stand.
var Reserved = []string{"hub", "any", "all"}

// CheckNode says whether s can name a node: CheckName, and none of Reserved.
func CheckNode(s string) error {
	if slices.Contains(Reserved, s) {
		return invalid("node name %q is reserved", s)
	}
	return CheckName("node", s)
}

// Labels describe a node for selectors: site=a, line=3. A key is as CheckName wants it, a value has at most
// 63 bytes of letters, digits, '-', '_' and '.'. "layer" and "name" are given by the node itself.
type Labels map[string]string

// ParseLabels reads "site=a,line=3"; empty text has no labels.
func ParseLabels(s string) (Labels, error) {
	l := Labels{}
	if s == "" {
		return l, nil
	}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, invalid("label %q: want key=value", pair)
		}
		if _, twice := l[key]; twice {
			return nil, invalid("label %q is given twice", key)
		}
		l[key] = value
	}
	return l, l.Check()
}

// Check says what is wrong with the labels.
func (l Labels) Check() error {
	for _, key := range slices.Sorted(maps.Keys(l)) {
		if err := checkLabel(key, l[key]); err != nil {
			return err
		}
		if key == "layer" || key == "name" {
			return invalid("label %q is the node's own %s, set by its enrolment", key, key)
		}
	}
	return nil
}

func checkLabel(key, value string) error {
	if err := CheckName("label", key); err != nil {
		return err
	}
	if value == "" || len(value) > maxName {
		return invalid("label %s=%.20q: a value has 1 to %d bytes", key, value, maxName)
	}
	for _, c := range []byte(value) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' {
			continue
		}
		return invalid("label %s=%q: use letters, digits, '-', '_' and '.'", key, value)
	}
	return nil
}

// String is the form that ParseLabels reads, by key.
func (l Labels) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, key+"="+l[key])
	}
	return strings.Join(parts, ",")
}

// Duration is a time.Duration that text and JSON have, such as "90s".
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return invalid("duration %.40q: want text such as \"90s\"", b)
	}
	*d = Duration(v)
	return nil
}
