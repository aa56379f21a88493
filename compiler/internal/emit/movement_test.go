package emit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func list(v []int) string { return strings.Join(strings.Fields(fmt.Sprint(v)), ",") }

// TestMovementMatchesEval moves data of up to six axes; every element must arrive unchanged.
func TestMovementMatchesEval(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(6, 1))
	for i := range 360 {
		rank := 1 + r.IntN(6)
		shape := make(ir.Shape, rank)
		for a := range shape {
			shape[a] = 1 + r.IntN([]int{17, 17, 9, 6, 4, 3, 3}[rank])
		}
		axis := r.IntN(rank)
		node, more := "", ""
		switch i % 6 {
		case 0:
			node = "transpose(%x) Perm=" + list(r.Perm(rank))
		case 1:
			start, count, step := make([]int, rank), make([]int, rank), make([]int, rank)
			for a, d := range shape {
				step[a] = []int{1, 1, 2, 3, -1, -2}[r.IntN(6)]
				start[a] = r.IntN(d)
				room := d - 1 - start[a]
				if step[a] < 0 {
					room = start[a]
				}
				count[a] = 1 + r.IntN(room/max(step[a], -step[a])+1)
			}
			node = fmt.Sprintf("slice(%%x) Start=%s Count=%s Step=%s", list(start), list(count), list(step))
		case 2:
			pads := make([]int, 2*rank)
			for p := range pads {
				pads[p] = r.IntN(3)
			}
			node = fmt.Sprintf("pad(%%x) Pads=%s Value=%d", list(pads), r.IntN(3)-1)
		case 3:
			other := append(ir.Shape{}, shape...)
			other[axis] = 1 + r.IntN(5)
			more = fmt.Sprintf("%%z = input f32%v\n%%c = const f32%v rand(3)\n", other, other)
			node = fmt.Sprintf("concat(%%z, %%x, %%c, %%x) Axis=%d", axis)
		case 4:
			idx := make([]string, 1+r.IntN(6))
			for k := range idx {
				idx[k] = fmt.Sprint(r.IntN(2*shape[axis]) - shape[axis])
			}
			more = fmt.Sprintf("%%i = const i64[%d] {%s}\n", len(idx), strings.Join(idx, " "))
			node = fmt.Sprintf("gather(%%x, %%i) Axis=%d", axis)
		case 5:
			to := append(ir.Shape{}, shape...)
			for a := range shape {
				switch r.IntN(3) {
				case 0:
					shape[a] = 1
				case 1:
					if to[a] > 3 {
						to[a] = 3
						shape[a] = 3
					}
				default:
					shape[a] = to[a]
				}
			}
			node = "expand(%x) Shape=" + list(to)
		}
		b.check(fmt.Sprintf("graph move\n%%x = input f32%v\n%s%%y = %s\nreturn %%y\n", shape, more, node), exact)
	}
}

func TestMovementCorners(t *testing.T) {
	b := newBench(t)
	for _, g := range []string{
		// A scalar index removes the axis; two axes of indices add one.
		"%x = input f32[3,4,2]\n%i = const i64[] {-1}\n%y = gather(%x, %i) Axis=1\nreturn %y",
		"%x = input f32[3,4,2]\n%i = const i64[2,3] {0 1 2 3 -4 1}\n%y = gather(%x, %i) Axis=1\nreturn %y",
		"%x = const f32[5,3] rand(1)\n%z = input f32[4,3]\n%i = const i64[4] {3 3 0 1}\n%g = gather(%z, %i) Axis=0\n%y = binary(%g, %z) Fn=add\nreturn %y",
		// Each element some times in a row, along any axis, with as many axes as kernels loop over, and almost so.
		"%x = input f32[1,3,2,5]\n%i = const i64[6] {0 0 1 1 2 2}\n%g = gather(%x, %i) Axis=1\n%j = const i64[6] {0 0 0 1 1 1}\n%y = gather(%g, %j) Axis=2\nreturn %y",
		"%x = input f32[2,3]\n%i = const i64[6] {0 0 1 1 2 2}\n%y = gather(%x, %i) Axis=1\n%j = const i64[6] {0 0 1 2 1 2}\n%z = gather(%x, %j) Axis=1\nreturn %y, %z",
		"%x = input i64[2,3]\n%i = const i64[6] {0 0 0 1 1 1}\n%y = gather(%x, %i) Axis=0\nreturn %y",
		"%x = input f32[2,2,2,2,2,2]\n%i = const i64[4] {0 0 1 1}\n%g = gather(%x, %i) Axis=4\n%y = transpose(%g) Perm=[5,4,3,2,1,0]\nreturn %y",
		// Views of views, as outputs, of inputs and of constants.
		"%x = input f32[2,3,4]\n%a = reshape(%x) Shape=[6,4]\n%y = reshape(%a) Shape=[24]\nreturn %y",
		"%x = input f32[2,3,4]\n%a = unary(%x) Fn=neg\n%y = reshape(%a) Shape=[4,6]\n%z = reshape(%y) Shape=[2,2,6]\nreturn %a, %y, %z",
		"%x = input f32[1]\n%c = const f32[2,2] {1 2 3 4}\n%y = reshape(%c) Shape=[4]\nreturn %y",
		// Nothing to do, and one element.
		"%x = input f32[1]\n%y = reshape(%x) Shape=[]\nreturn %y",
		"%x = input f32[]\n%y = unary(%x) Fn=exp\nreturn %y",
		"%x = input f32[2,3]\n%y = transpose(%x) Perm=[0,1]\nreturn %y",
		// An input that nobody reads, one that two nodes read, and a value with many readers.
		"%u = input f32[9]\n%x = input f32[5]\n%y = unary(%x) Fn=neg\n%z = binary(%y, %x) Fn=mul\n%w = binary(%y, %z) Fn=sub\nreturn %w, %y",
		// Long chains reuse the arena.
		"%x = input f32[64]\n%a = unary(%x) Fn=neg\n%b = softmax(%a)\n%c = unary(%b) Fn=sqrt\n%d = binary(%c, %b) Fn=add\n%e = unary(%d) Fn=exp\n%y = binary(%e, %c) Fn=sub\nreturn %y",
		// The pictures' way: channels first to last and back, odd sizes.
		"%x = input f32[2,5,7,3]\n%a = transpose(%x) Perm=[0,2,3,1]\n%m = softmax(%a)\n%y = transpose(%m) Perm=[0,3,1,2]\nreturn %y",
		"%x = input f32[1,3,33,31]\n%a = transpose(%x) Perm=[0,2,3,1]\n%y = softmax(%a)\nreturn %y",
	} {
		b.check("graph corner\n"+g+"\n", transcendental)
	}
}
