package load

import (
	"math"
	"slices"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

// forest is an ensemble while it is read.
type forest struct {
	nodes []treeNode
	roots []int
	// leaves are lists of weights; a branch to leaf i is ^i.
	leaves  [][]leafWeight
	targets int
	base    []float32
	how     string // ir.Trees.Aggregate
}

type treeNode struct {
	feature  int
	value    float64
	outcomes int
	yes, no  int       // the index of a node, or ^ that of a leaf
	member   []float64 // the values of a test for membership
}

type leafWeight struct {
	target int
	weight float64
}

// treeModes are the tests, in the order of their numbers in TreeEnsemble version 5; the last is
// membership. NaN differs from every value.
var treeModes = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER"}

var treeOutcomes = []int{
	ir.TreeLess | ir.TreeEqual, ir.TreeLess, ir.TreeGreater | ir.TreeEqual, ir.TreeGreater, ir.TreeEqual,
	ir.TreeLess | ir.TreeGreater | ir.TreeNaN, ir.TreeEqual,
}

// split is the threshold in f32 that divides the f32 numbers as the f64 one does. If the numbers were f64
// and are rounded, it is rounded alike, so that an equal one stays equal.
func (n treeNode) split(rounded bool) float32 {
	f := float32(n.value)
	if rounded {
		return f
	}
	down := n.outcomes&ir.TreeLess != 0 == (n.outcomes&ir.TreeEqual != 0)
	switch {
	case n.outcomes&(ir.TreeLess|ir.TreeGreater) == 0 || n.outcomes&ir.TreeLess != 0 && n.outcomes&ir.TreeGreater != 0:
		return f // equality
	case down && float64(f) > n.value:
		return math.Nextafter32(f, float32(math.Inf(-1)))
	case !down && float64(f) < n.value:
		return math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}

// table is the ensemble in the form of ir.Trees.
type table struct {
	tests  []int64
	values []float32
	roots  []int64
	seen   []bool
}

func (t *table) add(a, b, c int, v float32) {
	t.tests = append(t.tests, int64(a), int64(b), int64(c), 0)
	t.values = append(t.values, v)
}

// flatten lays out the tree below root, the branch that is taken when a test holds first.
func (t *table) flatten(c *context, f *forest, root int) {
	type branch struct{ to, from int }
	for open := []branch{{root, -1}}; len(open) > 0; {
		b := open[len(open)-1]
		open = open[:len(open)-1]
		if b.from >= 0 {
			t.tests[4*b.from+2] = int64(len(t.values))
		}
		if b.to < 0 {
			t.leaf(f.leaves[^b.to])
			continue
		}
		if t.seen[b.to] {
			c.fail("node %d of the trees has two parents", b.to)
			return
		}
		t.seen[b.to] = true
		n := f.nodes[b.to]
		// Membership is a chain: not the first, not the second, …; what does not hold goes to yes.
		yes := len(t.values) + len(n.member)
		for i := 0; i+1 < len(n.member); i++ {
			t.add(n.feature, ir.TreeLess|ir.TreeGreater|ir.TreeNaN, yes, float32(n.member[i]))
		}
		if len(n.member) > 0 {
			n.value = n.member[len(n.member)-1]
		}
		open = append(open, branch{n.no, len(t.values)}, branch{n.yes, -1})
		t.add(n.feature, n.outcomes, 0, n.split(c.rounded))
	}
}

func (t *table) leaf(weights []leafWeight) {
	if len(weights) == 0 {
		t.add(-1, 0, 0, 0)
	}
	for i, w := range weights {
		n := 1
		if i == 0 {
			n = len(weights)
		}
		t.add(-1, w.target, n, float32(w.weight))
	}
}

// scores adds the node that walks f over x, and returns [N, targets].
func (f *forest) scores(c *context, x *ir.Value) *ir.Value {
	x = c.matrix(x)
	if c.err != nil {
		return x
	}
	for i, n := range f.nodes {
		if n.feature < 0 || n.feature >= x.Type.Shape[1] {
			c.fail("node %d of the trees tests feature %d of %d", i, n.feature, x.Type.Shape[1])
			return x
		}
	}
	t := &table{seen: make([]bool, len(f.nodes))}
	for _, r := range f.roots {
		t.roots = append(t.roots, int64(len(t.values)))
		if t.flatten(c, f, r); c.err != nil {
			return x
		}
	}
	base := make([]float32, f.targets)
	switch len(f.base) {
	case 0:
	case 1:
		for i := range base {
			base[i] = f.base[0]
		}
	case f.targets:
		copy(base, f.base)
	default:
		c.fail("%d base values for %d targets", len(f.base), f.targets)
	}
	m := len(t.values)
	return c.add(ir.Trees{Aggregate: f.how}, x,
		c.integers(t.tests, m, 4), c.floats(t.values, m), c.integers(t.roots, len(t.roots)), c.floats(base, f.targets))
}

// integers returns a constant of i32.
func (c *context) integers(data []int64, dims ...int) *ir.Value {
	return ir.ConstValue(c.name+".const", &ir.Tensor{Type: ir.Of(ir.I32, dims...), I: data})
}

// matrix is a float matrix of one row for each sample; a vector is one sample.
func (c *context) matrix(x *ir.Value) *ir.Value {
	s := x.Type.Shape
	switch {
	case c.err != nil:
		return x
	case len(s) == 1:
		x = c.reshape(x, 1, s[0])
	case len(s) != 2:
		c.fail("input is %v, wants [samples, features]", s)
	}
	return c.float(x)
}

// float is x as f32.
func (c *context) float(x *ir.Value) *ir.Value {
	if c.err != nil || x.Type.DType == ir.F32 {
		return x
	}
	return c.add(ir.Cast{To: ir.F32}, x)
}

// treeKey finds a node by the numbers that the model gives it.
type treeKey struct{ tree, node int64 }

// treesOf reads the attributes of TreeEnsembleClassifier and -Regressor (versions 1 and 3). prefix is
// that of the weights' attributes.
func treesOf(c *context, prefix, ids string) *forest {
	f := &forest{how: map[string]string{"SUM": "sum", "AVERAGE": "avg", "MIN": "min", "MAX": "max"}[c.attrStr("aggregate_function", "SUM")]}
	if f.how == "" {
		c.fail("aggregate_function %q", c.attrStr("aggregate_function", ""))
	}
	tree, node, feature := c.longs("nodes_treeids"), c.longs("nodes_nodeids"), c.longs("nodes_featureids")
	yes, no, missing := c.longs("nodes_truenodeids"), c.longs("nodes_falsenodeids"), c.longs("nodes_missing_value_tracks_true")
	values, modes := c.doubles("nodes_values"), c.words("nodes_modes")
	wTree, wNode, wID, weights := c.longs(prefix+"_treeids"), c.longs(prefix+"_nodeids"), c.longs(prefix+"_"+ids), c.doubles(prefix+"_weights")
	for _, n := range []int{len(node), len(feature), len(yes), len(no), len(values), len(modes)} {
		if n != len(tree) {
			c.fail("the lists of nodes have %d to %d values", len(tree), n)
			return f
		}
	}
	if len(tree) == 0 || len(wTree) != len(weights) || len(wNode) != len(weights) || len(wID) != len(weights) || len(missing) > 0 && len(missing) != len(tree) {
		c.fail("the lists of weights or of missing values do not fit %d nodes", len(tree))
		return f
	}
	index := make(map[treeKey]int, len(tree)) // inner nodes as they are, leaves as ^
	for i := range tree {
		key := treeKey{tree[i], node[i]}
		if _, twice := index[key]; twice {
			c.fail("node %d of tree %d is there twice", node[i], tree[i])
			return f
		}
		if modes[i] == "LEAF" {
			index[key] = ^len(f.leaves)
			f.leaves = append(f.leaves, nil)
		} else {
			index[key] = len(f.nodes)
			f.nodes = append(f.nodes, treeNode{})
		}
		if i == 0 || tree[i] != tree[i-1] { // the first node of a tree is its root
			f.roots = append(f.roots, index[key])
		}
	}
	for i := range tree {
		at := index[treeKey{tree[i], node[i]}]
		if at < 0 {
			continue
		}
		mode := slices.Index(treeModes[:6], modes[i])
		y, okY := index[treeKey{tree[i], yes[i]}]
		n, okN := index[treeKey{tree[i], no[i]}]
		if mode < 0 || !okY || !okN {
			c.fail("node %d of tree %d has mode %q and branches to %d and %d", node[i], tree[i], modes[i], yes[i], no[i])
			return f
		}
		f.nodes[at] = treeNode{feature: toInt(feature[i]), value: values[i], outcomes: treeOutcomes[mode], yes: y, no: n}
		if len(missing) > 0 && missing[i] != 0 {
			f.nodes[at].outcomes |= ir.TreeNaN
		}
	}
	for i, w := range weights {
		at, ok := index[treeKey{wTree[i], wNode[i]}]
		if !ok || at >= 0 {
			c.fail("weight %d is for node %d of tree %d, which is no leaf", i, wNode[i], wTree[i])
			return f
		}
		f.leaves[^at] = append(f.leaves[^at], leafWeight{toInt(wID[i]), w})
	}
	f.base = f32s(c.doubles("base_values"))
	return f
}

// check refuses weights for targets that are not there.
func (f *forest) check(c *context) {
	if f.targets < 1 || f.targets > maxInt/4 {
		c.fail("%d targets", f.targets)
		return
	}
	for _, leaf := range f.leaves {
		for _, w := range leaf {
			if w.target < 0 || w.target >= f.targets {
				c.fail("a weight for target %d of %d", w.target, f.targets)
				return
			}
		}
	}
	c.spend(float64(f.targets))
}

func f32s(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

// treeRegressor converts TreeEnsembleRegressor (ai.onnx.ml versions 1 and 3).
func treeRegressor(c *context) []*ir.Value {
	f := treesOf(c, "target", "ids")
	f.targets = c.attrInt("n_targets", 1)
	if f.check(c); c.err != nil {
		return nil
	}
	return []*ir.Value{c.transformed(f.scores(c, c.input(0)), c.attrStr("post_transform", "NONE"))}
}

// treeClassifier converts TreeEnsembleClassifier (ai.onnx.ml versions 1 and 3). Where two classes have
// the weights of one, these are for the second class if none is negative, a probability; else a margin.
func treeClassifier(c *context) []*ir.Value {
	f := treesOf(c, "class", "ids")
	labels := c.classes()
	f.targets = len(labels)
	if f.check(c); c.err != nil {
		return nil
	}
	used, positive := map[int]bool{}, true
	for _, leaf := range f.leaves {
		for _, w := range leaf {
			used[w.target] = true
			positive = positive && w.weight >= 0
		}
	}
	post := c.attrStr("post_transform", "NONE")
	if len(labels) != 2 || len(used) > 1 {
		scores := f.scores(c, c.input(0))
		op := ir.Classify{Labels: labels}
		if len(labels) == 2 { // as ONNX Runtime has it: the sign of the second class decides
			op.Above = 0
			return []*ir.Value{c.add(op, c.cut(scores, 1, 1, 1)), c.transformed(scores, post)}
		}
		return []*ir.Value{c.add(op, scores), c.transformed(scores, post)}
	}
	for _, leaf := range f.leaves {
		for i := range leaf {
			leaf[i].target = 0
		}
	}
	f.targets = 1
	if len(f.base) == 2 {
		f.base = f.base[1:]
	}
	s := f.scores(c, c.input(0))
	return c.binaryClasses(s, labels, positive, post)
}

// binaryClasses gives label and scores of two classes from the one score of the second.
func (c *context) binaryClasses(s *ir.Value, labels []int, probability bool, post string) []*ir.Value {
	op := ir.Classify{Labels: labels}
	first := c.unary("neg", s)
	if probability {
		op.Above = 0.5
		if post != "LOGISTIC" {
			first = c.binary("sub", c.number(1), s)
		}
	}
	label, both := c.add(op, s), c.join(1, first, s)
	switch {
	case post == "PROBIT":
		both = c.transformed(s, post)
	case post == "LOGISTIC":
		both = c.unary("sigmoid", both)
	}
	return []*ir.Value{label, both}
}

// treeEnsemble converts TreeEnsemble (ai.onnx.ml version 5).
func treeEnsemble(c *context) []*ir.Value {
	f := &forest{targets: c.attrInt("n_targets", 1)}
	how := c.attrInt("aggregate_function", 1)
	post := c.attrInt("post_transform", 0)
	if how < 0 || how > 3 || post < 0 || post >= len(postTransforms) {
		c.fail("aggregate_function %d, post_transform %d", how, post)
		return nil
	}
	f.how = []string{"avg", "sum", "min", "max"}[how]
	feature, modes, splits := c.longs("nodes_featureids"), c.tensorLongs("nodes_modes"), c.doubles("nodes_splits")
	next := [2][]int64{c.longs("nodes_truenodeids"), c.longs("nodes_falsenodeids")}
	isLeaf := [2][]int64{c.longs("nodes_trueleafs"), c.longs("nodes_falseleafs")}
	missing, members := c.longs("nodes_missing_value_tracks_true"), c.doubles("membership_values")
	ids, weights := c.longs("leaf_targetids"), c.doubles("leaf_weights")
	for _, n := range []int{len(feature), len(splits), len(next[0]), len(next[1]), len(isLeaf[0]), len(isLeaf[1])} {
		if c.err == nil && n != len(modes) || len(missing) > 0 && len(missing) != len(modes) {
			c.fail("the lists of nodes have %d to %d values", len(modes), n)
		}
	}
	if len(ids) != len(weights) {
		c.fail("%d targets for %d leaves", len(ids), len(weights))
	}
	if c.err != nil {
		return nil
	}
	for i, w := range weights {
		f.leaves = append(f.leaves, []leafWeight{{toInt(ids[i]), w}})
	}
	for i, m := range modes {
		if m < 0 || int(m) >= len(treeModes) {
			c.fail("node %d has mode %d", i, m)
			return nil
		}
		n := treeNode{feature: toInt(feature[i]), value: splits[i], outcomes: treeOutcomes[m]}
		var to [2]int
		for k := range to {
			limit := len(modes)
			if isLeaf[k][i] != 0 {
				limit = len(weights)
			}
			if next[k][i] < 0 || next[k][i] >= int64(limit) {
				c.fail("node %d branches to %d of %d", i, next[k][i], limit)
				return nil
			}
			if to[k] = int(next[k][i]); isLeaf[k][i] != 0 {
				to[k] = ^to[k]
			}
		}
		n.yes, n.no = to[0], to[1]
		if treeModes[m] == "BRANCH_MEMBER" { // sets follow each other, each ended by NaN
			end := slices.IndexFunc(members, math.IsNaN)
			if end < 0 {
				end = len(members)
			}
			n.member, members = members[:end], members[min(end+1, len(members)):]
			if len(n.member) == 0 {
				n.outcomes = 0
			}
		}
		if len(missing) > 0 && missing[i] != 0 {
			n.outcomes |= ir.TreeNaN
		}
		f.nodes = append(f.nodes, n)
	}
	for _, r := range c.longs("tree_roots") {
		if r < 0 || r >= int64(len(f.nodes)) {
			c.fail("root %d of %d nodes", r, len(f.nodes))
			return nil
		}
		f.roots = append(f.roots, int(r))
	}
	if f.check(c); c.err != nil {
		return nil
	}
	// A tree that is one leaf has a root both of whose branches are that leaf.
	return []*ir.Value{c.transformed(f.scores(c, c.input(0)), postTransforms[post])}
}
