package emit

import (
	"encoding/binary"
	"encoding/json"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/compiler/internal/ir"
	"github.com/isomer-iot/isomer/compiler/internal/kernel"
	"github.com/isomer-iot/isomer/wasm"
)

// Names of the functions that take a picture.
const (
	ExportClassify = "classify" // image convention
	ExportPredict  = "predict"  // Wasmtube image convention
)

const badImage = "the picture has no pixels or its byte count is not width × height × 3"

// classifier writes classify and predict.
func (w *writer) classifier() {
	t := w.text()
	bad := t.literal(badImage)
	badJSON := t.literal(`{"error":"` + badImage + `"}`)
	rep := w.reporter(t)
	prepare := w.prepare()
	ret := w.reserve(abi.ResultSize)
	text := w.reserve(w.opt.reportBytes(w.graph))
	report := rep.emit(text)

	base, heap := w.heapGlobals()
	spoiled := w.module.AddGlobal(wasm.I32, true, wasm.ConstI32(0))
	// answer runs the network over the picture in four locals and leaves the length of the result.
	answer := func(c *wasm.Code, width, height, ptr, n wasm.Local) {
		// The row goes beyond the picture, wherever the host put it, and never below the heap.
		room, size := c.Local(wasm.I32), c.Local(wasm.I32)
		c.Get(ptr, n).Op(wasm.I32Add).I32(15).Op(wasm.I32Add).I32(-16).Op(wasm.I32And).Set(room)
		c.GlobalGet(heap).I32(15).Op(wasm.I32Add).I32(-16).Op(wasm.I32And).Set(size)
		c.Get(room, size, room, size).Op(wasm.I32GtU).Select().Set(room)
		c.Get(width).I32(12).Op(wasm.I32Mul).I32(16).Op(wasm.I32Add).Set(size)
		w.grow(c, room, size)
		c.Get(width, height, ptr, room).Call(prepare).Call(w.runFunc).Call(report)
	}
	classify := w.addFunc(ExportClassify, 4, 1, func(c *wasm.Code) {
		width, height, ptr, n := c.Param(0), c.Param(1), c.Param(2), c.Param(3)
		result := func(tag int32, at int32, length func()) {
			c.I32(int32(ret)).I32(tag).Store(wasm.I32Store, 0)
			c.I32(int32(ret)).I32(at).Store(wasm.I32Store, 4)
			c.I32(int32(ret))
			length()
			c.Store(wasm.I32Store, 8)
		}
		trapIf(c, spoiled)
		sized(c, width, height, n)
		c.IfElse(func() {
			result(abi.TagOK, int32(text), func() { answer(c, width, height, ptr, n) })
		}, func() {
			result(abi.TagErr, int32(bad.at), func() { c.I32(int32(bad.n)) })
		})
		// The picture is used and the result is not on the heap: nothing needs a post-return.
		c.GlobalGet(base).GlobalSet(heap).I32(int32(ret))
	})
	w.module.Export(ExportClassify, wasm.KindFunc, classify)

	input, room := w.plan.Of(w.graph.In[0]).Address, w.opt.reportBytes(w.graph)
	predict := w.addFunc(ExportPredict, 4, 1, func(c *wasm.Code) {
		ptr, n, width, height := c.Param(0), c.Param(1), c.Param(2), c.Param(3)
		from, length := c.Local(wasm.I32), c.Local(wasm.I32)
		// A picture that begins below the heap must leave the input alone, and the weights behind it:
		// a host that wrote over them has broken the instance, and must not get an answer from it.
		c.Get(ptr).GlobalGet(base).Op(wasm.I32LtU)
		c.Get(n).I32(int32(room)).Get(n).I32(int32(room)).Op(wasm.I32GtU).Select().Op(wasm.I64ExtendI32U)
		c.Get(ptr).Op(wasm.I64ExtendI32U, wasm.I64Add).I64(int64(input)).Op(wasm.I64GtU, wasm.I32And)
		c.If(func() { c.I32(1).GlobalSet(spoiled).Unreachable() })
		trapIf(c, spoiled)
		sized(c, width, height, n)
		c.IfElse(func() {
			answer(c, width, height, ptr, n)
			c.Set(length).I32(int32(text)).Set(from)
		}, func() {
			c.I32(int32(badJSON.n)).Set(length).I32(int32(badJSON.at)).Set(from)
		})
		w.grow(c, ptr, length)
		c.Get(ptr, from, length).MemoryCopy().GlobalGet(base).GlobalSet(heap).Get(length)
	})
	w.module.Export(ExportPredict, wasm.KindFunc, predict)
}

// trapIf ends the call if the global is set.
func trapIf(c *wasm.Code, global uint32) { c.GlobalGet(global).If(func() { c.Unreachable() }) }

func (w *writer) addFunc(name string, params, results int, body func(c *wasm.Code)) uint32 {
	c := wasm.NewCode(i32s(params)...)
	body(c)
	return w.module.AddFunc(name, wasm.FuncType{Params: i32s(params), Results: i32s(results)}, c)
}

// sized pushes whether n is width·height·3 with both positive.
func sized(c *wasm.Code, width, height, n wasm.Local) {
	c.Get(width).I32(0).Op(wasm.I32GtS).Get(height).I32(0).Op(wasm.I32GtS, wasm.I32And)
	c.Get(width).Op(wasm.I64ExtendI32U).Get(height).Op(wasm.I64ExtendI32U, wasm.I64Mul)
	// No product wraps: 3·2³¹·2³¹ is below 2⁶⁴.
	c.I64(3).Op(wasm.I64Mul).Get(n).Op(wasm.I64ExtendI32U, wasm.I64Eq, wasm.I32And)
}

// reporter writes the function that turns the first output into JSON at text and returns its length:
//
//	{"top":[{"index":285,"label":"Egyptian cat","logit":15.7,"probability":0.83},…]}
//
// Without labels there is no label; if the network ends in a softmax there is no logit.
type reporter struct {
	w                       *writer
	t                       *texts
	n, top                  int
	softmax                 bool
	labels                  int // address of n+1 offsets, then the labels as JSON strings; 0: none
	labelText               int
	open, index, label, end span
	logit, probability      span
	comma, close            span
}

// reportBytes is the most that a result takes.
func (o Options) reportBytes(g *ir.Graph) int {
	longest := 0
	for _, l := range o.Labels {
		text, _ := json.Marshal(l)
		longest = max(longest, len(text))
	}
	return 64 + min(o.Top, g.Out[0].Type.Shape.Elems())*(160+longest)
}

func (w *writer) reporter(t *texts) *reporter {
	out := w.graph.Out[0]
	r := &reporter{w: w, t: t, n: out.Type.Shape.Elems(), top: min(w.opt.Top, out.Type.Shape.Elems())}
	r.softmax = endsInSoftmax(w.graph)
	if len(w.opt.Labels) > 0 {
		var offsets, all []byte
		for i := range r.n {
			offsets = binary.LittleEndian.AppendUint32(offsets, uint32(len(all)))
			label := []byte(`""`)
			if i < len(w.opt.Labels) {
				label, _ = json.Marshal(w.opt.Labels[i])
			}
			all = append(all, label...)
		}
		offsets = binary.LittleEndian.AppendUint32(offsets, uint32(len(all)))
		r.labels, r.labelText = w.plan.Consts.Bytes(offsets), w.plan.Consts.Bytes(all)
	}
	r.open, r.close, r.comma = t.literal(`{"top":[`), t.literal(`]}`), t.literal(`,`)
	r.index, r.end = t.literal(`{"index":`), t.literal(`}`)
	r.label, r.logit, r.probability = t.literal(`,"label":`), t.literal(`,"logit":`), t.literal(`,"probability":`)
	return r
}

// endsInSoftmax reports whether the first output is a softmax, directly or through views.
func endsInSoftmax(g *ir.Graph) bool {
	v := g.Out[0]
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if n.Out[0] != v {
			continue
		}
		switch n.Op.(type) {
		case ir.Softmax:
			return true
		case ir.Reshape:
			v = n.In[0]
		default:
			return false
		}
	}
	return false
}

func (r *reporter) emit(text int) uint32 {
	w := r.w
	logits := w.plan.Of(w.graph.Out[0]).Address
	probs := logits
	softmax := uint32(0)
	if !r.softmax {
		probs = w.reserve(4*r.n + 16)
		softmax = w.kernel(kernel.Softmax{Rows: 1, N: r.n})
	}
	next := r.bestAfter(logits)
	c := wasm.NewCode()
	at, rank, i, value := c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.I32), c.Local(wasm.F32)
	if !r.softmax {
		c.I32(int32(probs)).I32(int32(logits)).Call(softmax)
	}
	put := func(s span) { r.t.put(c, at, s) }
	number := func(name span, base int) {
		put(name)
		c.Get(at, i).I32(2).Op(wasm.I32Shl).Load(wasm.F32Load, uint32(base)).Call(r.t.float()).Set(at)
	}
	c.I32(int32(text)).Set(at).I32(-1).Set(i).F32(float32(inf)).Set(value)
	put(r.open)
	c.Block(func(done wasm.Label) {
		c.Range(rank, 0, int32(r.top), 1, func() {
			c.Get(value, i).Call(next).Tee(i).I32(0).Op(wasm.I32LtS).BrIf(done) // only NaN is left
			c.Get(i).I32(2).Op(wasm.I32Shl).Load(wasm.F32Load, uint32(logits)).Set(value)
			c.Get(rank).If(func() { put(r.comma) })
			put(r.index)
			c.Get(at, i).Op(wasm.I64ExtendI32U).Call(r.t.uint()).Set(at)
			if r.labels != 0 {
				put(r.label)
				r.putLabel(c, at, i)
			}
			if !r.softmax {
				number(r.logit, logits)
			}
			number(r.probability, probs)
			put(r.end)
		})
	})
	put(r.close)
	c.Get(at).I32(int32(text)).Op(wasm.I32Sub)
	return w.module.AddFunc("report_classes", wasm.FuncType{Results: i32s(1)}, c)
}

// putLabel copies label i to at and advances it.
func (r *reporter) putLabel(c *wasm.Code, at, i wasm.Local) {
	offset := func(next uint32) {
		c.Get(i).I32(2).Op(wasm.I32Shl).Load(wasm.I32Load, uint32(r.labels)+4*next)
	}
	n := c.Local(wasm.I32)
	offset(1)
	offset(0)
	c.Op(wasm.I32Sub).Set(n)
	c.Get(at).I32(int32(r.labelText))
	offset(0)
	c.Op(wasm.I32Add).Get(n).MemoryCopy()
	c.Get(at, n).Op(wasm.I32Add).Set(at)
}

// bestAfter writes (value, index) → the index of the value that follows it in descending order, the
// lower index first among equals; -1 if there is none. Starting from (+Inf, -1) it ranks them all.
func (r *reporter) bestAfter(values int) uint32 {
	c := wasm.NewCode(wasm.F32, wasm.I32)
	prev, prevIndex := c.Param(0), c.Param(1)
	best, bestIndex, v, i := c.Local(wasm.F32), c.Local(wasm.I32), c.Local(wasm.F32), c.Local(wasm.I32)
	c.I32(-1).Set(bestIndex)
	c.Range(i, 0, int32(r.n), 1, func() {
		c.Get(i).I32(2).Op(wasm.I32Shl).Load(wasm.F32Load, uint32(values)).Set(v)
		// It comes after the previous one …
		c.Get(v, prev).Op(wasm.F32Lt).Get(v, prev).Op(wasm.F32Eq).Get(i, prevIndex).Op(wasm.I32GtS, wasm.I32And, wasm.I32Or)
		// … and before the best so far.
		c.Get(bestIndex).I32(0).Op(wasm.I32LtS).Get(v, best).Op(wasm.F32Gt, wasm.I32Or, wasm.I32And)
		c.If(func() { c.Get(v).Set(best).Get(i).Set(bestIndex) })
	})
	c.Get(bestIndex)
	return r.w.module.AddFunc("next_class", wasm.FuncType{Params: []wasm.ValType{wasm.F32, wasm.I32}, Results: i32s(1)}, c)
}
