package abi

import (
	"fmt"
	"math"
	"strings"
)

// maxNameLen keeps names usable as file names and as parts of message subjects.
const maxNameLen = 128

// maxPages is the size of a 32-bit memory, which a module may ask for; a host gives one page less
// (engine.MaxPages).
const maxPages = 65536

// Validate reports everything that is wrong with m at once, as a *ManifestError.
func (m Manifest) Validate() error {
	var c checker
	if m.Isomer != FormatVersion {
		c.add("isomer: format version %d, this reader knows %d", m.Isomer, FormatVersion)
		if m.Isomer > FormatVersion {
			return c.err() // a newer format may give the other fields another meaning
		}
	}
	if !validName(m.Name) {
		c.add("name: %q, want 1 to %d of letters, digits, '.', '_', '-'", m.Name, maxNameLen)
	}
	if m.Version != "" && !validVersion(m.Version) {
		c.add("version: %q, want at most %d of letters, digits, '.', '_', '-', '+'", m.Version, maxNameLen)
	}
	c.functions(m)
	c.tensors("inputs", m.Inputs)
	c.tensors("outputs", m.Outputs)
	c.image(m.Image)
	c.unique("features", m.Features)
	c.permissions(m.Permissions)
	if mem := m.Memory; mem != nil {
		if mem.MinPages > maxPages || mem.MaxPages > maxPages {
			c.add("memory: %d to %d pages, the largest is %d", mem.MinPages, mem.MaxPages, maxPages)
		}
		if mem.MaxPages != 0 && mem.MinPages > mem.MaxPages {
			c.add("memory: minPages %d is more than maxPages %d", mem.MinPages, mem.MaxPages)
		}
	}
	for i, g := range m.Golden {
		c.golden(fmt.Sprintf("golden[%d]", i), m, g)
	}
	return c.err()
}

// checker collects problems.
type checker struct{ problems []string }

func (c *checker) add(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *checker) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &ManifestError{Problems: c.problems}
}

func (c *checker) functions(m Manifest) {
	seen := make(map[string]bool, len(m.Functions))
	for i, f := range m.Functions {
		at := fmt.Sprintf("functions[%d]", i)
		if f.Name == "" {
			c.add("%s.name: empty", at)
		} else if seen[f.Name] {
			c.add("%s.name: %q is there twice", at, f.Name)
		}
		seen[f.Name] = true
		if !f.Convention.Valid() {
			c.add("%s.convention: %q is not known", at, f.Convention)
			continue
		}
		in, out := f.Encodings()
		if !in.Valid() {
			c.add("%s.input: encoding %q is not known", at, in)
		}
		if !out.Valid() {
			c.add("%s.output: encoding %q is not known", at, out)
		}
		isImage := f.Convention == Image || f.Convention == WasmtubeImage
		if isImage != (in == ImageRGB) {
			c.add("%s.input: encoding %q with convention %q", at, in, f.Convention)
		}
		if out == ImageRGB {
			c.add("%s.output: a function cannot return an image (use raw)", at)
		}
		if f.Convention == Command {
			if f.Name != ExportStart {
				c.add("%s.name: %q, the command convention calls %q", at, f.Name, ExportStart)
			}
			if len(m.Functions) > 1 {
				c.add("%s: a command runs once and has no other functions", at)
			}
		}
		if f.Convention == Tensors {
			if f.Name != ExportRun {
				c.add("%s.name: %q, the tensors convention calls %q", at, f.Name, ExportRun)
			}
			if len(m.Outputs) == 0 {
				c.add("outputs: empty, %s has the tensors convention", at)
			}
		}
	}
}

func (c *checker) tensors(field string, specs []TensorSpec) {
	names := make(map[string]bool, len(specs))
	for i, t := range specs {
		at := fmt.Sprintf("%s[%d]", field, i)
		if t.Name == "" {
			c.add("%s.name: empty", at)
		} else if names[t.Name] {
			c.add("%s.name: %q is there twice", at, t.Name)
		}
		names[t.Name] = true
		if t.Global == "" {
			c.add("%s.global: empty", at)
		}
		if _, err := t.ByteSize(); err != nil {
			c.add("%s: %v", at, err)
		}
	}
}

func (c *checker) image(s *ImageSpec) {
	if s == nil {
		return
	}
	if s.Width < 1 || s.Height < 1 || s.Width > math.MaxUint16 || s.Height > math.MaxUint16 {
		c.add("image: %d×%d, want 1 to %d each", s.Width, s.Height, math.MaxUint16)
	}
	switch s.Fit {
	case "", FitCover, FitContain, FitStretch:
	default:
		c.add("image.fit: %q, want cover, contain or stretch", s.Fit)
	}
	if n := len(s.Mean); n != 0 && n != 3 {
		c.add("image.mean: %d values, want 3", n)
	}
	if n := len(s.Std); n != 0 && n != 3 {
		c.add("image.std: %d values, want 3", n)
	}
	for i, v := range s.Std {
		if v == 0 {
			c.add("image.std[%d]: 0 divides", i)
		}
	}
}

func (c *checker) unique(field string, list []string) {
	seen := make(map[string]bool, len(list))
	for i, s := range list {
		if s == "" {
			c.add("%s[%d]: empty", field, i)
		} else if seen[s] {
			c.add("%s[%d]: %q is there twice", field, i, s)
		}
		seen[s] = true
	}
}

func (c *checker) permissions(list []string) {
	seen := make(map[Permission]bool, len(list))
	for i, s := range list {
		p, err := ParsePermission(s)
		if err != nil {
			c.add("permissions[%d]: %v", i, err)
		} else if seen[p] {
			c.add("permissions[%d]: %q is there twice", i, s)
		}
		seen[p] = true
	}
}

func (c *checker) golden(at string, m Manifest, g Golden) {
	if g.Tolerance < 0 || math.IsNaN(g.Tolerance) {
		c.add("%s.tolerance: %v, want 0 or more", at, g.Tolerance)
	}
	if g.Function == "" {
		c.add("%s.function: empty", at)
		return
	}
	f, ok := m.Function(g.Function)
	if !ok {
		if len(m.Functions) > 0 {
			c.add("%s.function: %q is not among the functions", at, g.Function)
		}
		return
	}
	switch f.Convention {
	case Image, WasmtubeImage:
		// The limits keep the product below from overflowing.
		if g.Width < 1 || g.Height < 1 || g.Width > math.MaxUint16 || g.Height > math.MaxUint16 {
			c.add("%s: image of %d×%d, want 1 to %d each", at, g.Width, g.Height, math.MaxUint16)
		} else if want := int64(g.Width) * int64(g.Height) * 3; want != int64(len(g.Input)) {
			c.add("%s.input: %d bytes for an image of %d×%d, want %d", at, len(g.Input), g.Width, g.Height, want)
		}
	case Tensors:
		c.size(at+".input", len(g.Input), m.Inputs)
		c.size(at+".output", len(g.Output), m.Outputs)
	}
}

func (c *checker) size(at string, got int, specs []TensorSpec) {
	var want int64
	for _, t := range specs {
		n, err := t.ByteSize()
		if err != nil {
			return // reported with the tensor itself
		}
		want += int64(n)
	}
	if int64(got) != want {
		c.add("%s: %d bytes, the tensors have %d", at, got, want)
	}
}

func validName(s string) bool { return s != "" && validVersion(s) && !strings.Contains(s, "+") }

// validVersion allows '+' for build metadata as semantic versions have it.
func validVersion(s string) bool {
	if len(s) > maxNameLen {
		return false
	}
	for i := range len(s) {
		b := s[i]
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		case b == '-' || b == '_' || b == '+' || b == '.':
			if i == 0 {
				return false // ".", "-x" and "+" are no names and look like paths or flags
			}
		default:
			return false
		}
	}
	return true
}
