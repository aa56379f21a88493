package kernel

import (
	"math"

	"github.com/isomer-iot/isomer/wasm"
)

var nan = math.NaN()

// mathF64 writes functions of one f64 at a time, for operators that are too rare for vectors: each
// replaces the value of the local x. Series end where the rest is below 1e-12 of the result, far beyond
// what the f32 around them keeps.
type mathF64 struct {
	c *wasm.Code
	x wasm.Local
}

func newMath(c *wasm.Code) *mathF64 { return &mathF64{c, c.Local(wasm.F64)} }

func (m *mathF64) local() wasm.Local { return m.c.Local(wasm.F64) }

// curves are the functions of ir.Each that are analytic.
var curves = map[string]func(m *mathF64){
	"sin": func(m *mathF64) { m.circular(0, false) }, "cos": func(m *mathF64) { m.circular(1, false) },
	"tan":  func(m *mathF64) { m.circular(0, true) },
	"atan": (*mathF64).atan,
	"asin": (*mathF64).asin,
	"acos": func(m *mathF64) {
		m.asin()
		m.c.F64(math.Pi / 2).Get(m.x).Op(wasm.F64Sub).Set(m.x)
	},
	"sinh":  (*mathF64).sinh,
	"cosh":  (*mathF64).cosh,
	"asinh": (*mathF64).asinh,
	"acosh": (*mathF64).acosh,
	"atanh": (*mathF64).atanh,
}

// poly pushes Σ k(i)·y^i for i < n.
func (m *mathF64) poly(y wasm.Local, n int, k func(i int) float64) {
	m.c.F64(k(n - 1))
	for i := n - 2; i >= 0; i-- {
		m.c.Get(y).Op(wasm.F64Mul).F64(k(i)).Op(wasm.F64Add)
	}
}

func factorial(n int) float64 { return math.Gamma(float64(n + 1)) }

func alternate(i int) float64 { return float64(1 - 2*(i%2)) }

// exp writes e^x: x = n·ln2 + r with |r| ≤ ln2/2, and 2^n by its bits. What an f32 cannot hold, beyond
// ±700, comes out as the value there, which is 0 or infinite as one.
func (m *mathF64) exp() {
	c, n, r := m.c, m.local(), m.local()
	c.Get(m.x).F64(-700).Op(wasm.F64Max).F64(700).Op(wasm.F64Min).Set(m.x)
	c.Get(m.x).F64(math.Log2E).Op(wasm.F64Mul, wasm.F64Nearest).Set(n)
	c.Get(m.x, n).F64(math.Ln2).Op(wasm.F64Mul, wasm.F64Sub).Set(r)
	m.poly(r, 13, func(i int) float64 { return 1 / factorial(i) })
	c.Get(n).Op(wasm.I64TruncSatF64S).I64(1023).Op(wasm.I64Add).I64(52).Op(wasm.I64Shl, wasm.F64ReinterpretI64, wasm.F64Mul)
	c.Set(m.x)
}

// halfLog pushes ½·log((1+s)/(1-s)) for |s| ≤ 0.18.
func (m *mathF64) halfLog(s wasm.Local) {
	sq := m.local()
	m.c.Get(s, s).Op(wasm.F64Mul).Set(sq)
	m.poly(sq, 9, func(i int) float64 { return 1 / float64(2*i+1) })
	m.c.Get(s).Op(wasm.F64Mul)
}

// log writes the natural logarithm of what is no denormal of f64: x = 2^e·v with v between √½ and √2.
func (m *mathF64) log() {
	c, e, v, keep := m.c, m.local(), m.local(), m.local()
	bits := c.Local(wasm.I64)
	c.Get(m.x).Tee(keep).Op(wasm.I64ReinterpretF64).Set(bits)
	// The exponent counts from √½·2^e on: adding what is missing from √½ to 1 in bits carries into it.
	const shift = 0x3ff0000000000000 - 0x3fe6a09e667f3bcd
	c.Get(bits).I64(shift).Op(wasm.I64Add).I64(52).Op(wasm.I64ShrU).I64(1023).Op(wasm.I64Sub).Tee(bits).Op(wasm.F64ConvertI64S).Set(e)
	c.Get(m.x).Op(wasm.I64ReinterpretF64).Get(bits).I64(52).Op(wasm.I64Shl, wasm.I64Sub, wasm.F64ReinterpretI64).Set(v)
	c.Get(v).F64(1).Op(wasm.F64Sub).Get(v).F64(1).Op(wasm.F64Add, wasm.F64Div).Set(v)
	m.halfLog(v)
	c.F64(2).Op(wasm.F64Mul).Get(e).F64(math.Ln2).Op(wasm.F64Mul, wasm.F64Add).Set(m.x)
	special := func(value float64, when wasm.Op, at float64) {
		c.F64(value).Get(m.x, keep).F64(at).Op(when).Select().Set(m.x)
	}
	special(math.Inf(1), wasm.F64Eq, math.Inf(1))
	special(math.Inf(-1), wasm.F64Eq, 0)
	special(nan, wasm.F64Lt, 0)
	c.Get(keep, m.x, keep, keep).Op(wasm.F64Ne).Select().Set(m.x)
}

// pow pushes a^b for f32 values, by the rules of IEEE 754.
func (m *mathF64) pow(a, b wasm.Local) {
	c, odd := m.c, m.c.Local(wasm.I32)
	x, y := m.local(), m.local()
	c.Get(a).Op(wasm.F64PromoteF32).Set(x)
	c.Get(b).Op(wasm.F64PromoteF32).Set(y)
	// Floats of 2^24 and more are even.
	c.Get(y).F64(0.5).Op(wasm.F64Mul, wasm.F64Trunc).F64(2).Op(wasm.F64Mul).Get(y).Op(wasm.F64Ne)
	c.Get(y).Op(wasm.F64Abs).F64(1<<24).Op(wasm.F64Lt, wasm.I32And).Set(odd)
	c.Get(x).Op(wasm.F64Abs).Set(m.x)
	m.log()
	c.Get(m.x, y).Op(wasm.F64Mul).Set(m.x)
	m.exp()
	one := func(when func()) {
		c.F64(1).Get(m.x)
		when()
		c.Select().Set(m.x)
	}
	one(func() { c.Get(x).Op(wasm.F64Abs).F64(1).Op(wasm.F64Eq).Get(y, y).Op(wasm.F64Eq, wasm.I32And) })
	// Below zero: odd powers are negative, broken ones no number.
	c.Get(m.x).Op(wasm.F64Neg).Get(m.x, odd).Get(x).Op(wasm.I64ReinterpretF64).I64(0).Op(wasm.I64LtS, wasm.I32And).Select().Set(m.x)
	c.F64(nan).Get(m.x, x).F64(0).Op(wasm.F64Lt).Get(y).Op(wasm.F64Trunc).Get(y).Op(wasm.F64Ne, wasm.I32And).Select().Set(m.x)
	one(func() { c.Get(x).F64(1).Op(wasm.F64Eq).Get(y).F64(0).Op(wasm.F64Eq, wasm.I32Or) })
	c.Get(m.x).Op(wasm.F32DemoteF64)
}

// circular writes the sine of x + quarter·π/2, or the tangent: x = n·π/2 + r with |r| ≤ π/4. π/2 comes in
// two parts, of which the first times n is exact up to x = 1.6e6; at 1e9 the error reaches 1e-7.
func (m *mathF64) circular(quarter int64, tangent bool) {
	c, n, r, sq, s, k := m.c, m.local(), m.local(), m.local(), m.local(), m.local()
	q := c.Local(wasm.I64)
	const first, rest = 1.57079632673412561417, 6.07710050650619224932e-11
	c.Get(m.x).F64(2/math.Pi).Op(wasm.F64Mul, wasm.F64Nearest).Set(n)
	c.Get(m.x, n).F64(first).Op(wasm.F64Mul, wasm.F64Sub).Get(n).F64(rest).Op(wasm.F64Mul, wasm.F64Sub).Set(r)
	c.Get(r, r).Op(wasm.F64Mul).Set(sq)
	m.poly(sq, 9, func(i int) float64 { return alternate(i) / factorial(2*i+1) })
	c.Get(r).Op(wasm.F64Mul).Set(s)
	m.poly(sq, 9, func(i int) float64 { return alternate(i) / factorial(2*i) })
	c.Set(k)
	c.Get(n).Op(wasm.I64TruncSatF64S).I64(quarter).Op(wasm.I64Add).Set(q)
	isOdd := func() { c.Get(q).I64(1).Op(wasm.I64And, wasm.I32WrapI64) }
	if tangent {
		c.Get(k).Op(wasm.F64Neg).Get(s).Op(wasm.F64Div).Get(s, k).Op(wasm.F64Div)
		isOdd()
		c.Select().Set(m.x)
		return
	}
	c.Get(k, s)
	isOdd()
	c.Select().Set(m.x)
	c.Get(m.x).Op(wasm.F64Neg).Get(m.x).Get(q).I64(2).Op(wasm.I64And, wasm.I32WrapI64).Select().Set(m.x)
}

// atan folds |x| to 0…1 by its reciprocal and to ±tan(π/8) by the angle less π/4.
func (m *mathF64) atan() {
	c, a, base, sq := m.c, m.local(), m.local(), m.local()
	c.Get(m.x).Op(wasm.F64Abs).Set(a)
	big, mid := c.Local(wasm.I32), c.Local(wasm.I32)
	c.Get(a).F64(1).Op(wasm.F64Gt).Set(big)
	c.F64(1).Get(a).Op(wasm.F64Div).Get(a, big).Select().Set(a)
	c.Get(a).F64(math.Sqrt2 - 1).Op(wasm.F64Gt).Set(mid)
	c.Get(a).F64(1).Op(wasm.F64Sub).Get(a).F64(1).Op(wasm.F64Add, wasm.F64Div).Get(a, mid).Select().Set(a)
	c.F64(math.Pi / 4).F64(0).Get(mid).Select().Set(base)
	c.Get(a, a).Op(wasm.F64Mul).Set(sq)
	m.poly(sq, 16, func(i int) float64 { return alternate(i) / float64(2*i+1) })
	c.Get(a).Op(wasm.F64Mul).Get(base).Op(wasm.F64Add).Set(a)
	c.F64(math.Pi/2).Get(a).Op(wasm.F64Sub).Get(a, big).Select().Get(m.x).Op(wasm.F64Copysign).Set(m.x)
}

// asin is atan(x/√(1-x²)).
func (m *mathF64) asin() {
	c := m.c
	c.Get(m.x).F64(1).Get(m.x).Op(wasm.F64Sub).F64(1).Get(m.x).Op(wasm.F64Add, wasm.F64Mul, wasm.F64Sqrt, wasm.F64Div).Set(m.x)
	m.atan()
}

// expAbs writes e^|x| and returns what x was.
func (m *mathF64) expAbs() (given wasm.Local) {
	given = m.local()
	m.c.Get(m.x).Tee(given).Op(wasm.F64Abs).Set(m.x)
	m.exp()
	return given
}

// sinh takes the series up to 1, where the exponentials cancel.
func (m *mathF64) sinh() {
	c, sq, small := m.c, m.local(), m.local()
	c.Get(m.x, m.x).Op(wasm.F64Mul).Set(sq)
	m.poly(sq, 8, func(i int) float64 { return 1 / factorial(2*i+1) })
	c.Get(m.x).Op(wasm.F64Mul).Set(small)
	given := m.expAbs()
	c.Get(m.x).F64(1).Get(m.x).Op(wasm.F64Div, wasm.F64Sub).F64(0.5).Op(wasm.F64Mul).Get(given).Op(wasm.F64Copysign)
	c.Get(small).Get(given).Op(wasm.F64Abs).F64(1).Op(wasm.F64Gt).Select().Set(m.x)
	c.Get(given, m.x, given, given).Op(wasm.F64Ne).Select().Set(m.x)
}

func (m *mathF64) cosh() {
	m.expAbs()
	m.c.Get(m.x).F64(1).Get(m.x).Op(wasm.F64Div, wasm.F64Add).F64(0.5).Op(wasm.F64Mul).Set(m.x)
}

// asinh is ±log(|x| + √(x²+1)); near zero, where that cancels, the series of atanh(x/√(x²+1)).
func (m *mathF64) asinh() {
	c, given, root, s, small := m.c, m.local(), m.local(), m.local(), m.local()
	c.Get(m.x).Tee(given).Get(m.x).Op(wasm.F64Mul).F64(1).Op(wasm.F64Add, wasm.F64Sqrt).Set(root)
	c.Get(given, root).Op(wasm.F64Div).Set(s)
	m.halfLog(s)
	c.Set(small)
	c.Get(given).Op(wasm.F64Abs).Get(root).Op(wasm.F64Add).Set(m.x)
	m.log()
	c.Get(small).Get(m.x, given).Op(wasm.F64Copysign).Get(given).Op(wasm.F64Abs).F64(0.15).Op(wasm.F64Lt).Select().Set(m.x)
}

// acosh is log(x + √(x-1)·√(x+1)), of which the roots make what is below 1 no number.
func (m *mathF64) acosh() {
	m.c.Get(m.x).Get(m.x).F64(1).Op(wasm.F64Sub, wasm.F64Sqrt).Get(m.x).F64(1).Op(wasm.F64Add, wasm.F64Sqrt, wasm.F64Mul, wasm.F64Add).Set(m.x)
	m.log()
}

// atanh is ½·log((1+x)/(1-x)), near zero by its series.
func (m *mathF64) atanh() {
	c, given, small := m.c, m.local(), m.local()
	c.Get(m.x).Set(given)
	m.halfLog(given)
	c.Set(small)
	c.F64(1).Get(given).Op(wasm.F64Add).F64(1).Get(given).Op(wasm.F64Sub, wasm.F64Div).Set(m.x)
	m.log()
	c.Get(small).Get(m.x).F64(0.5).Op(wasm.F64Mul).Get(given).Op(wasm.F64Abs).F64(0.15).Op(wasm.F64Lt).Select().Set(m.x)
}
