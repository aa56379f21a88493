package fleet

import (
	"slices"
	"strings"
)

// Selector chooses nodes by layer, name and labels: each requirement must hold. The empty selector chooses
// every node.
type Selector []Requirement

// Requirement is one part of a selector: the label's value is among Values. The keys "layer" and "name" are
// the node's own.
type Requirement struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

// ParseSelector reads "layer=device,site=a|b": parts with commas between them, each a key and the values that
// it may have. "all" chooses every node; empty text is refused, since to forget a selector must not reach the whole fleet.
func ParseSelector(s string) (Selector, error) {
	if s == "all" {
		return Selector{}, nil
	}
	if s == "" {
		return nil, invalid(`selector is empty: say "all" for every node, or such as layer=device,site=a`)
	}
	var sel Selector
	for part := range strings.SplitSeq(s, ",") {
		key, values, ok := strings.Cut(part, "=")
		if !ok {
			return nil, invalid("selector %q: want key=value or key=value|value", part)
		}
		sel = append(sel, Requirement{Key: key, Values: strings.Split(values, "|")})
	}
	return sel, sel.Check()
}

// Check says what is wrong with the selector.
func (s Selector) Check() error {
	seen := map[string]bool{}
	for _, r := range s {
		if seen[r.Key] {
			return invalid("selector: %s is required twice; alternatives are written %s=a|b", r.Key, r.Key)
		}
		seen[r.Key] = true
		if len(r.Values) == 0 {
			return invalid("selector: %s has no values", r.Key)
		}
		for _, v := range r.Values {
			err := checkLabel(r.Key, v)
			switch r.Key {
			case "layer":
				_, err = ParseLayer(v)
			case "name":
				err = CheckNode(v)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Matches reports whether the selector chooses the node.
func (s Selector) Matches(name string, layer Layer, labels Labels) bool {
	for _, r := range s {
		have := labels[r.Key]
		switch r.Key {
		case "layer":
			have = string(layer)
		case "name":
			have = name
		}
		if !slices.Contains(r.Values, have) {
			return false
		}
	}
	return true
}

// String is the form that ParseSelector reads.
func (s Selector) String() string {
	if len(s) == 0 {
		return "all"
	}
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.Key + "=" + strings.Join(r.Values, "|")
	}
	return strings.Join(parts, ",")
}
