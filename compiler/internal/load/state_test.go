package load

import (
	"math"
	"testing"

	"github.com/isomer-iot/isomer/compiler/internal/ir"
)

func agreeTo(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, v := range want {
		if math.Abs(float64(got[i]-v)) > 1e-5 {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], v)
		}
	}
}

func filled(seed uint64, dims ...int) *ir.Tensor {
	x := ir.NewTensor(ir.Of(ir.F32, dims...))
	ir.Fill(x, seed)
	return x
}

// TestCausalConvIsConv compares with a convolution of groups over the past and x, and the state with its end.
func TestCausalConvIsConv(t *testing.T) {
	x, w := filled(1, 2, 3, 7), filled(2, 3, 1, 4)
	for name, past := range map[string]*ir.Tensor{"a past": filled(3, 2, 3, 3), "no past": ir.NewTensor(ir.Of(ir.F32, 2, 3, 3))} {
		known := consts(floats("w", w.F, 3, 1, 4), floats("b", []float32{1, -1, 0.5}), floats("p", past.F, 2, 3, 3), ints("from", 7), ints("to", 10), ints("axis", 2))
		inputs := "x w b p"
		if name == "no past" {
			inputs = "x w b"
		}
		got := valueOf(t, 27, x, known, node("CausalConvWithState", inputs, "c s", attr("activation", "silu")), node("Concat", "c s", "y", attr("axis", 2)))
		want := valueOf(t, 22, x, known, node("Concat", "p x", "a", attr("axis", 2)), node("Conv", "a w b", "c", attr("group", 3)), node("Sigmoid", "c", "g"),
			node("Mul", "c g", "m"), node("Slice", "a from to axis", "s"), node("Concat", "m s", "y", attr("axis", 2)))
		agreeTo(t, name, got.F, want.F)
	}
}

// TestLinearAttentionByDefinition goes through the recurrence step by step: one picture, 4 query heads on 2,
// keys of 3 and values of 2 elements, 3 steps.
func TestLinearAttentionByDefinition(t *testing.T) {
	const steps, heads, kv, dk, dv = 3, 4, 2, 3, 2
	q, k, v := filled(1, 1, steps, heads*dk), filled(2, 1, steps, kv*dk), filled(3, 1, steps, kv*dv)
	state, decay, beta := filled(4, 1, kv, dk, dv), filled(5, 1, steps, kv), filled(6, 1, steps, kv)
	known := consts(floats("k", k.F, 1, steps, kv*dk), floats("v", v.F, 1, steps, kv*dv), floats("s", state.F, 1, kv, dk, dv),
		floats("g", decay.F, 1, steps, kv), floats("b", beta.F, 1, steps, kv))
	for rule, inputs := range map[string]string{"linear": "x k v s", "gated": "x k v s g", "delta": "x k v s - b", "gated_delta": "x k v s g b"} {
		got := valueOf(t, 27, q, known, node("LinearAttention", inputs, "y n", attr("q_num_heads", heads), attr("kv_num_heads", kv), attr("scale", 0.5), attr("update_rule", rule)))
		want := make([]float32, steps*heads*dv)
		for h := range kv {
			s := append([]float32{}, state.F[h*dk*dv:][:dk*dv]...)
			for at := range steps {
				key, value := k.F[(at*kv+h)*dk:][:dk], append([]float32{}, v.F[(at*kv+h)*dv:][:dv]...)
				if rule == "gated" || rule == "gated_delta" {
					for i := range s {
						s[i] *= float32(math.Exp(float64(decay.F[at*kv+h])))
					}
				}
				for j := range value {
					if rule == "delta" || rule == "gated_delta" {
						for i := range key {
							value[j] -= s[i*dv+j] * key[i]
						}
						value[j] *= beta.F[at*kv+h]
					}
				}
				for i := range s {
					s[i] += key[i/dv] * value[i%dv]
				}
				for g := range heads / kv {
					head := h*(heads/kv) + g
					for i := range s {
						want[(at*heads+head)*dv+i%dv] += 0.5 * q.F[(at*heads+head)*dk+i/dv] * s[i]
					}
				}
			}
		}
		agreeTo(t, rule, got.F, want)
	}
	m := model(27, in(input("x", 1, 2000, 1)), nil, node("LinearAttention", "x x x", "y n", attr("q_num_heads", 1), attr("kv_num_heads", 1), attr("update_rule", "linear")))
	if _, err := Model(m, Options{}); err == nil {
		t.Error("2000 steps are written out")
	}
}
