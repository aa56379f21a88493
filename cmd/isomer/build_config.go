package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// configFile is looked for beside the model.
const configFile = "model.yaml"

// settings are the keys of a model.yaml, each with the flag that it stands for. A list joined sets its flag once,
// another one once for each element. Paths are relative to the file.
var settings = map[string]struct {
	flag         string
	joined, path bool
}{
	"output": {flag: "output", path: true}, "name": {flag: "name"}, "version": {flag: "version"},
	"labels": {flag: "labels", path: true}, "mean": {flag: "mean", joined: true}, "std": {flag: "std", joined: true},
	"scale": {flag: "scale"}, "fit": {flag: "fit"}, "top": {flag: "top"}, "dims": {flag: "dim"}, "fix": {flag: "fix"},
	"budget": {flag: "budget"}, "weights": {flag: "weights"}, "report": {flag: "report", path: true},
	"profile": {flag: "profile", path: true},
	"check":   {flag: "check"}, "cases": {flag: "case", path: true}, "random": {flag: "random"},
	"golden": {flag: "golden"}, "tolerance": {flag: "tolerance"},
}

// configure takes settings from a file for the flags that were not given, and gives the file's path, empty where there is none.
func configure(c *cobra.Command, path, model string) (string, error) {
	beside := path == ""
	if beside {
		path = filepath.Join(filepath.Dir(model), configFile)
	}
	b, err := readRegular(path, maxText)
	if beside && errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if err := applyConfig(c, path, b); err != nil {
		return "", err
	}
	return path, nil
}

func applyConfig(c *cobra.Command, path string, b []byte) error {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil // empty
	}
	if err == nil && !errors.Is(d.Decode(new(yaml.Node)), io.EOF) {
		err = errors.New("more behind the settings")
	}
	if err != nil {
		return hint(fmt.Errorf("%s: %w", path, err), "docs/build.md has an example")
	}
	if len(doc.Content) == 0 {
		return nil // empty
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return hint(fmt.Errorf("%s:%d: want KEY: VALUE", path, top.Line), "docs/build.md has an example")
	}
	given := map[string]bool{}
	for key, s := range settings {
		given[key] = c.Flags().Changed(s.flag)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		s, ok := settings[key.Value]
		switch {
		case !ok:
			return hint(fmt.Errorf("%s:%d: unknown key %q", path, key.Line, key.Value), "%s", keyAdvice(key.Value))
		case seen[key.Value]:
			return hint(fmt.Errorf("%s:%d: key %q stands here again", path, key.Line, key.Value), "leave one of them")
		}
		seen[key.Value] = true
		if given[key.Value] {
			continue // the command line wins
		}
		values, err := configValues(key.Value, value)
		if err != nil {
			return hint(fmt.Errorf("%s:%d: %w", path, value.Line, err), "docs/build.md has an example")
		}
		if s.joined {
			values = []string{strings.Join(values, ",")}
		}
		for _, v := range values {
			if s.path {
				v = besideFile(path, v)
			}
			if err := c.Flags().Set(s.flag, v); err != nil {
				return hint(fmt.Errorf("%s:%d: %s: %w", path, value.Line, key.Value, err), "docs/build.md has an example")
			}
		}
	}
	return nil
}

// configValues are the texts that a flag takes: of a number or word itself, of a list its elements, of names with
// values NAME=VALUE.
func configValues(key string, v *yaml.Node) ([]string, error) {
	switch {
	case v.Kind == yaml.ScalarNode && v.Tag != "!!null":
		return []string{v.Value}, nil
	case v.Kind == yaml.SequenceNode && (key == "mean" || key == "std" || key == "cases"):
		var out []string
		for _, e := range v.Content {
			one, err := configValues("", e)
			if err != nil {
				return nil, fmt.Errorf("%s: want a list of plain values", key)
			}
			out = append(out, one...)
		}
		return out, nil
	case v.Kind == yaml.MappingNode && (key == "dims" || key == "fix"):
		var out []string
		for i := 0; i+1 < len(v.Content); i += 2 {
			values, err := configValues("mean", v.Content[i+1]) // a number, or a list of them
			if err != nil {
				return nil, fmt.Errorf("%s: %s: want a number or a list of numbers", key, v.Content[i].Value)
			}
			out = append(out, v.Content[i].Value+"="+strings.Join(values, ","))
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s has a value of the wrong kind", key)
}

// besideFile makes the files of a value relative to the file that names them; a value is FILE or NAME=FILE,….
func besideFile(config, value string) string {
	parts := strings.Split(value, ",")
	for i, part := range parts {
		at := strings.LastIndex(part, "=") + 1
		if !filepath.IsAbs(part[at:]) {
			parts[i] = part[:at] + filepath.Join(filepath.Dir(config), part[at:])
		}
	}
	return strings.Join(parts, ",")
}

// keyAdvice names the key that was meant, or all.
func keyAdvice(key string) string {
	var keys []string
	for k, s := range settings {
		if strings.TrimSuffix(key, "s") == strings.TrimSuffix(k, "s") || key == s.flag || len(key) > 3 && strings.HasPrefix(k, key[:3]) {
			return fmt.Sprintf("did you mean %q?", k)
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return "the keys are " + strings.Join(keys, ", ")
}
