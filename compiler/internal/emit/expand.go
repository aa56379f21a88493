package emit

import (
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/wasm"
)

// expand writes the start function, which makes f32 of the weights that the module carries as int8. An
// instance then has what it would have without: the same kernels run at the same speed.
func (w *writer) expand() {
	blocks := w.plan.Consts.Expansions()
	if len(blocks) == 0 {
		return
	}
	c := wasm.NewCode()
	for _, e := range blocks {
		f := w.kernel(kernel.Expand{Cols: e.Cols, Skew: e.Skew})
		for _, a := range []int{e.Address, e.Address + e.Bytes/4*3, e.Scales, e.Panels, e.Rows} {
			c.I32(int32(a))
		}
		c.Call(f)
	}
	start := w.module.AddFunc("expand_weights", wasm.FuncType{}, c)
	w.module.Start = &start
}
