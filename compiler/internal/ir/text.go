package ir

import (
	"encoding"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The text form, one statement a line, for tests of passes and for reading:
//
//	graph name
//	%x = input f32[1,8,8,4]
//	%w = const f32[4] {1 2 3 4}
//	%b = const f32[64] rand(7)
//	%y = unary(%x) Fn=clip P=[0,6] : f32[1,8,8,4]
//	return %y
//
// The types of results may be left out; those that are given must be right. A constant of more than inlineElems elements is printed as its type alone; rand(seed) gives a
// parsed constant its elements.
const inlineElems = 16

// ops are the operators by their word in the text form.
var ops = map[string]reflect.Type{}

func init() {
	for _, op := range []Op{
		Conv{}, MatMul{}, Product{}, Unary{}, Binary{}, Cast{}, Transpose{}, Reshape{}, Expand{}, Concat{}, Slice{}, Pad{}, Gather{},
		Reduce{}, Softmax{}, LayerNorm{}, Pool{},
		Each{}, Arg{}, GatherElements{}, GatherND{}, ScatterElements{}, ScatterND{}, TopK{}, Cumulate{},
		Recurrent{},
	} {
		ops[op.Name()] = reflect.TypeOf(op)
	}
}

// String prints the graph in the text form. Names are made unique by a number where they must.
func (g *Graph) String() string {
	p := printer{names: map[*Value]string{}, taken: map[string]bool{}}
	fmt.Fprintf(&p.b, "graph %s\n", strings.Join(strings.Fields(g.Name), "_"))
	for _, v := range g.In {
		fmt.Fprintf(&p.b, "%s = input %v\n", p.name(v), v.Type)
	}
	for _, n := range g.Nodes {
		args := make([]string, len(n.In))
		for i, v := range n.In {
			args[i] = p.use(v)
		}
		outs, types := make([]string, len(n.Out)), make([]string, len(n.Out))
		for i, v := range n.Out {
			outs[i], types[i] = p.name(v), v.Type.String()
		}
		fmt.Fprintf(&p.b, "%s = %s(%s)%s : %s\n", strings.Join(outs, ", "), n.Op.Name(),
			strings.Join(args, ", "), attrs(n.Op), strings.Join(types, ", "))
	}
	outs := make([]string, len(g.Out))
	for i, v := range g.Out {
		outs[i] = p.use(v)
	}
	fmt.Fprintf(&p.b, "return %s\n", strings.Join(outs, ", "))
	return p.b.String()
}

type printer struct {
	b     strings.Builder
	names map[*Value]string
	taken map[string]bool
}

func (p *printer) name(v *Value) string {
	if s, ok := p.names[v]; ok {
		return s
	}
	base := "%" + strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune(",()=%:[]{}", r) {
			return '_'
		}
		return r
	}, v.Name)
	s := base
	for i := 1; p.taken[s]; i++ {
		s = base + "." + strconv.Itoa(i)
	}
	p.taken[s], p.names[v] = true, s
	return s
}

func (p *printer) use(v *Value) string {
	_, seen := p.names[v]
	s := p.name(v)
	if v.Const != nil && !seen {
		fmt.Fprintf(&p.b, "%s = const %v%s\n", s, v.Type, elems(v.Const))
	}
	return s
}

func elems(t *Tensor) string {
	if t.Shape.Elems() > inlineElems {
		return ""
	}
	var s []string
	for _, v := range t.F {
		s = append(s, strconv.FormatFloat(float64(v), 'g', -1, 32))
	}
	for _, v := range t.I {
		s = append(s, strconv.FormatInt(v, 10))
	}
	return " {" + strings.Join(s, " ") + "}"
}

// Attributes are the attributes of op that are not zero, as the text form has them.
func Attributes(op Op) string { return strings.TrimSpace(attrs(op)) }

func attrs(op Op) string {
	var b strings.Builder
	v := reflect.ValueOf(op)
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() {
			continue
		}
		b.WriteString(" " + v.Type().Field(i).Name + "=")
		switch x := f.Interface().(type) {
		case encoding.TextMarshaler:
			text, _ := x.MarshalText()
			b.Write(text)
		default:
			b.WriteString(strings.NewReplacer(" ", ",").Replace(fmt.Sprint(x)))
		}
	}
	return b.String()
}

// Parse reads the text form and verifies the graph.
func Parse(text string) (*Graph, error) {
	g := &Graph{}
	vals := map[string]*Value{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := g.parseLine(line, vals); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return g, g.Verify()
}

func (g *Graph) parseLine(line string, vals map[string]*Value) error {
	if name, ok := strings.CutPrefix(line, "graph "); ok {
		g.Name = name
		return nil
	}
	if rest, ok := strings.CutPrefix(line, "return "); ok {
		var err error
		g.Out, err = lookup(rest, vals)
		return err
	}
	lhs, rhs, ok := strings.Cut(line, " = ")
	if !ok {
		return fmt.Errorf("%q is no statement", line)
	}
	name := strings.TrimPrefix(lhs, "%")
	if t, ok := strings.CutPrefix(rhs, "input "); ok {
		typ, err := parseType(t)
		v := &Value{Name: name, Type: typ}
		g.In, vals[lhs] = append(g.In, v), v
		return err
	}
	if c, ok := strings.CutPrefix(rhs, "const "); ok {
		t, err := parseConst(c)
		if err == nil {
			vals[lhs] = ConstValue(name, t)
		}
		return err
	}
	word, rest, _ := strings.Cut(rhs, "(")
	args, rest, _ := strings.Cut(rest, ")")
	typ, ok := ops[word]
	if !ok {
		return fmt.Errorf("no operator %q", word)
	}
	in, err := lookup(args, vals)
	if err != nil {
		return err
	}
	op := reflect.New(typ).Elem()
	rest, want, typed := strings.Cut(rest, " : ")
	for _, a := range strings.Fields(rest) {
		key, val, _ := strings.Cut(a, "=")
		f := op.FieldByName(key)
		if !f.IsValid() {
			return fmt.Errorf("%s has no attribute %q", word, key)
		}
		if err := parseAttr(f, val); err != nil {
			return fmt.Errorf("%s: attribute %s: %w", word, key, err)
		}
	}
	outs := strings.Split(lhs, ", ")
	n, err := NewNode(name, op.Interface().(Op), in...)
	if err != nil {
		return err
	}
	if len(outs) != len(n.Out) {
		return fmt.Errorf("%s has %d outputs", word, len(n.Out))
	}
	var types []string
	for _, v := range n.Out {
		types = append(types, v.Type.String())
	}
	if got := strings.Join(types, ", "); typed && want != got {
		return fmt.Errorf("%s gives %s, not %s", word, got, want)
	}
	for i, o := range outs {
		n.Out[i].Name = strings.TrimPrefix(o, "%")
		vals[o] = n.Out[i]
	}
	g.Nodes = append(g.Nodes, n)
	return nil
}

func lookup(list string, vals map[string]*Value) ([]*Value, error) {
	var vs []*Value
	for _, s := range strings.Split(list, ",") {
		v, ok := vals[strings.TrimSpace(s)]
		if !ok {
			return nil, fmt.Errorf("no value %q", s)
		}
		vs = append(vs, v)
	}
	return vs, nil
}

func parseType(s string) (Type, error) {
	word, dims, _ := strings.Cut(s, "[")
	for i, n := range dtypeNames {
		if n == word && n != "" {
			t := Type{DType: DType(i), Shape: Shape{}}
			for _, d := range strings.FieldsFunc(strings.TrimSuffix(dims, "]"), func(r rune) bool { return r == ',' }) {
				n, err := strconv.Atoi(d)
				if err != nil || n < 0 {
					return t, fmt.Errorf("%q is no extent", d)
				}
				t.Shape = append(t.Shape, n)
			}
			return t, nil
		}
	}
	return Type{}, fmt.Errorf("no element type %q", word)
}

func parseConst(s string) (*Tensor, error) {
	typ, rest, _ := strings.Cut(s, " ")
	t, err := parseType(typ)
	if err != nil {
		return nil, err
	}
	x := NewTensor(t)
	if seed, ok := strings.CutPrefix(rest, "rand("); ok {
		n, err := strconv.ParseUint(strings.TrimSuffix(seed, ")"), 10, 64)
		if err != nil {
			return nil, err
		}
		Fill(x, n)
		return x, nil
	}
	words := strings.Fields(strings.Trim(rest, "{}"))
	if rest == "" {
		return x, nil
	}
	if len(words) != t.Shape.Elems() {
		return nil, fmt.Errorf("%d elements for %v", len(words), t)
	}
	for i, w := range words {
		f, err := strconv.ParseFloat(w, 64)
		if err != nil {
			return nil, err
		}
		if t.DType.Float() {
			x.F[i] = float32(f)
		} else {
			x.I[i] = int64(f)
		}
	}
	return x, nil
}

// Fill writes seeded values between -1 and 1, for integers between 0 and 3, for booleans more often true
// than not, for tests.
func Fill(x *Tensor, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range x.F {
		x.F[i] = r.Float32()*2 - 1
	}
	for i := range x.I {
		x.I[i] = wrap(r.Int64N(4), x.DType)
	}
}

func parseAttr(f reflect.Value, s string) error {
	if u, ok := f.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(s)
	case reflect.Bool:
		f.SetBool(s == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		f.SetInt(n)
		return err
	case reflect.Uint8:
		i := slices.Index(dtypeNames[:], s)
		if i < 1 {
			return fmt.Errorf("no element type %q", s)
		}
		f.SetUint(uint64(i))
	case reflect.Float32:
		x, err := strconv.ParseFloat(s, 32)
		f.SetFloat(x)
		return err
	case reflect.Slice, reflect.Array:
		parts := strings.FieldsFunc(strings.Trim(s, "[]"), func(r rune) bool { return r == ',' })
		if f.Kind() == reflect.Slice {
			f.Set(reflect.MakeSlice(f.Type(), len(parts), len(parts)))
		}
		if len(parts) != f.Len() {
			return fmt.Errorf("%d parts, wants %d", len(parts), f.Len())
		}
		for i, p := range parts {
			if err := parseAttr(f.Index(i), p); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("cannot be read")
	}
	return nil
}
