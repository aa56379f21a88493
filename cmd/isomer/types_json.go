package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of what is told from an answer: more says nothing to a reader.
const (
	maxShapeDepth  = 16
	maxShapeFields = 256
)

// jsonShape is what values of JSON have in common.
type jsonShape struct {
	number, truth bool
	empty         bool // a null was there: what else may be is not known
	texts         []string
	objects       int
	fields        map[string]*jsonShape
	had           map[string]int // objects that had the field
	element       *jsonShape
}

// add makes s cover v, which encoding/json decoded.
func (s *jsonShape) add(v any) {
	switch v := v.(type) {
	case nil:
		s.empty = true
	case bool:
		s.truth = true
	case float64:
		s.number = true
	case string:
		s.texts = append(s.texts, v)
	case []any:
		if s.element == nil {
			s.element = &jsonShape{}
		}
		for _, e := range v {
			s.element.add(e)
		}
	case map[string]any:
		s.objects++
		if s.fields == nil {
			s.fields, s.had = map[string]*jsonShape{}, map[string]int{}
		}
		for k, e := range v {
			if s.fields[k] == nil {
				s.fields[k] = &jsonShape{}
			}
			s.had[k]++
			s.fields[k].add(e)
		}
	}
}

// typescript is the type of what has shape s and stands in a field. Where nothing, or a null, was seen it is unknown. A
// field named label whose texts are all class names has their type.
func (d *declarations) typescript(s *jsonShape, field string, depth int) string {
	if s.empty || depth > maxShapeDepth {
		return "unknown"
	}
	var out []string
	if s.number {
		out = append(out, "number")
	}
	if len(s.texts) > 0 {
		text := "string"
		if field == "label" && !slices.ContainsFunc(s.texts, func(t string) bool { return !d.known[t] }) {
			text = d.label
		}
		out = append(out, text)
	}
	if s.truth {
		out = append(out, "boolean")
	}
	if s.element != nil {
		t := d.typescript(s.element, field, depth+1)
		if strings.Contains(t, " | ") {
			t = "(" + t + ")"
		}
		out = append(out, t+"[]")
	}
	if s.objects > 0 {
		out = append(out, d.object(s, depth))
	}
	if len(out) == 0 {
		return "unknown"
	}
	return strings.Join(out, " | ")
}

func (d *declarations) object(s *jsonShape, depth int) string {
	if len(s.fields) == 0 {
		return "object"
	}
	if len(s.fields) > maxShapeFields {
		return "Record<string, unknown>"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		optional := ""
		if s.had[name] < s.objects {
			optional = "?"
		}
		parts = append(parts, fmt.Sprintf("%s%s: %s", key(name), optional, d.typescript(s.fields[name], name, depth+1)))
	}
	return "{ " + strings.Join(parts, "; ") + " }"
}
