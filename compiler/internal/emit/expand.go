package emit

import (
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/wasm"
)

// expand writes the start function, which makes f32 or i16 of the weights that the module carries as int8. An
// instance then has what it would have without: the same kernels run at the same speed.
func (w *writer) expand() {
	blocks := w.plan.Consts.Expansions()
	if len(blocks) == 0 {
		return
	}
	c := wasm.NewCode()
	for _, e := range blocks {
		var k kernel.Kernel = kernel.Expand{Cols: e.Cols, Skew: e.Skew}
		args := []int{e.Address, e.Source(), e.Scales, e.Panels, e.Rows}
		if e.Whole {
			k, args = kernel.Widen{}, []int{e.Address, e.Source(), e.Bytes / 16, e.Least}
		}
		for _, a := range args {
			c.I32(int32(a))
		}
		c.Call(w.kernel(k))
	}
	start := w.module.AddFunc("expand_weights", wasm.FuncType{}, c)
	w.module.Start = &start
}
