package emit

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/compiler/internal/plan"
)

// trees packs the tables of ir.Trees into nodes of 12 bytes. Most ensembles have one kind of test,
// which then is part of the code and not of the table.
func (l *lowerer) trees(op ir.Trees, n *ir.Node, in []plan.Layout, out plan.Layout) error {
	for i := 1; i < 5; i++ {
		if n.In[i].Const == nil {
			return fmt.Errorf("input %d must be constant", i)
		}
	}
	tests, values, roots, base := n.In[1].Const.I, n.In[2].Const.F, n.In[3].Const.I, n.In[4].Const.F
	x := n.In[0].Type.Shape
	k := kernel.Trees{Rows: x[0], Features: x[1], Targets: len(base), Roots: len(roots), Aggregate: op.Aggregate, Single: true}
	outcomes := map[int]bool{}
	for i := range values {
		t := tests[4*i:]
		if t[0] >= 0 {
			outcomes[int(t[1])] = true
		} else {
			k.Single = k.Single && t[2] == 1
		}
	}
	if len(outcomes) <= 1 {
		k.Outcomes = ir.TreeLess
		for o := range outcomes {
			if kernel.UniformTest(o) {
				k.Outcomes = o
			} else {
				k.Outcomes = 0
			}
		}
	}
	const most = math.MaxInt32 / 64 // features and nodes whose offsets fit the table
	if x[1] > most || len(values) > most {
		return fmt.Errorf("%d features and %d nodes; at most %d fit", x[1], len(values), most)
	}
	var table, offsets []byte
	word := func(to []byte, v int) []byte { return binary.LittleEndian.AppendUint32(to, uint32(int32(v))) }
	for i, v := range values {
		t := tests[4*i:]
		table = word(table, int(int32(math.Float32bits(v))))
		switch {
		case t[0] < 0:
			table = word(word(table, int(^(4*t[1]))), int(t[2]))
		case k.Outcomes == 0:
			table = word(word(table, int(4*t[0])<<4|int(t[1])), int(t[2]-int64(i))*kernel.TreeNode)
		default:
			table = word(word(table, int(4*t[0])), int(t[2]-int64(i))*kernel.TreeNode)
		}
	}
	for _, r := range roots {
		offsets = word(offsets, int(r)*kernel.TreeNode)
	}
	c := l.plan.Consts
	l.call(k, out.Address, in[0].Address, c.Bytes(table), c.Bytes(offsets), c.Floats(base))
	return nil
}

func (l *lowerer) classify(op ir.Classify, in, out plan.Layout) {
	k := kernel.Classify{Rows: in.Shape[0], N: in.Shape[1], Above: op.Above}
	args := []int{out.Address, in.Address}
	var table []byte
	for i, label := range op.Labels {
		k.Table = k.Table || label != i
		table = binary.LittleEndian.AppendUint64(table, uint64(int64(label)))
	}
	if len(op.Labels) == 1 { // whatever the score says
		k.Table, table = true, append(table, table...)
	}
	if k.Table {
		args = append(args, l.plan.Consts.Bytes(table))
	}
	l.call(k, args...)
}
