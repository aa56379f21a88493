package load

import "github.com/isomer-iot/isomer/compiler/internal/ir"

// A support vector machine for k classes is k(k-1)/2 of them for two: one for each pair i < j, whose score
// is positive for class i.

// svmClassifier converts SVMClassifier (version 1). Without support vectors it is a linear classifier. The
// class is the one with most votes, also where probabilities are given and say otherwise.
func svmClassifier(c *context) []*ir.Value {
	labels, coefs, rho := c.classes(), c.floatList("coefficients"), c.floatList("rho")
	x, post := c.matrix(c.float(c.input(0))), c.attrStr("post_transform", "NONE")
	if c.err != nil {
		return nil
	}
	k := len(labels)
	starts := []int{0} // of the support vectors of each class
	for _, n := range c.longs("vectors_per_class") {
		if n < 0 || n > maxInt/2 {
			c.fail("%d support vectors for class %d", n, len(starts)-1)
			return nil
		}
		starts = append(starts, starts[len(starts)-1]+int(n))
	}
	n := starts[len(starts)-1]
	if n == 0 {
		if len(rho) == 0 {
			c.fail("no rho")
			return nil
		}
		s := c.binary("add", c.affine(x, coefs, nil, k), c.number(rho[0]))
		return []*ir.Value{c.add(ir.Classify{Labels: labels}, s), c.transformed(s, post)}
	}
	pairs := k * (k - 1) / 2
	if k < 2 || len(starts) != k+1 || len(coefs) != (k-1)*n || len(rho) != pairs {
		c.fail("%d classes with %d counts of support vectors, %d coefficients for %d vectors and %d values of rho", k, len(starts)-1, len(coefs), n, len(rho))
		return nil
	}
	if !c.spend(float64(pairs) * float64(n+k)) {
		return nil
	}
	weights, votes, base := make([]float32, pairs*n), make([]float32, k*pairs), make([]float32, k)
	for p, ij := range pairsOf(k) {
		i, j := ij[0], ij[1]
		// Row r of the coefficients has, for vectors of class c, those against the r-th of the others.
		copy(weights[p*n+starts[i]:p*n+starts[i+1]], coefs[(j-1)*n+starts[i]:])
		copy(weights[p*n+starts[j]:p*n+starts[j+1]], coefs[i*n+starts[j]:])
		votes[i*pairs+p], votes[j*pairs+p] = 1, -1
		base[j]++
	}
	s := c.affine(c.kernel(x, c.floatList("support_vectors"), n), weights, rho, pairs)
	label := c.add(ir.Classify{Labels: labels}, c.affine(c.positive(c.unary("sign", s)), votes, base, k))
	a, b := c.floatList("prob_a"), c.floatList("prob_b")
	switch {
	case c.err != nil:
		return nil
	case len(a) > 0:
		if len(a) != pairs || len(b) != pairs {
			c.fail("%d values of prob_a and %d of prob_b for %d pairs of classes", len(a), len(b), pairs)
			return nil
		}
		return []*ir.Value{label, c.transformed(c.coupled(s, a, b, k), post)}
	case k > 2:
		return []*ir.Value{label, c.transformed(s, post)}
	}
	first := c.unary("neg", s)
	switch post {
	case "NONE":
	case "LOGISTIC":
		first, s = c.unary("sigmoid", first), c.unary("sigmoid", s)
	default:
		first = c.binary("sub", c.number(1), s)
	}
	return []*ir.Value{label, c.join(1, first, s)}
}

// pairsOf lists the pairs i < j of k classes in the order of their scores.
func pairsOf(k int) (pairs [][2]int) {
	for i := range k {
		for j := i + 1; j < k; j++ {
			pairs = append(pairs, [2]int{i, j})
		}
	}
	return pairs
}

const (
	// maxCoupled bounds the nodes: a sweep has 15 for each class.
	maxCoupled = 12
	// couplingSweeps suffice for libsvm's own bound of 0.005/k, which most rows meet after three.
	couplingSweeps = 16
)

// coupled makes probabilities of k classes from the scores of their pairs: sigmoids by Platt, then the
// second method of Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise
// Coupling" (JMLR 5, 2004), algorithm 2 of which this writes out. Rows that have converged keep what they
// have, as in libsvm, since the bound is wide enough to be seen in the result.
func (c *context) coupled(s *ir.Value, a, b []float32, k int) *ir.Value {
	if k > maxCoupled {
		c.unsupported("probabilities of %d classes, more than %d; convert the model with raw scores", k, maxCoupled)
		return s
	}
	const least = 1e-7
	pairs := pairsOf(k)
	z := c.binary("add", c.binary("mul", s, c.floats(a, len(a))), c.floats(b, len(b)))
	z = c.unary("sigmoid", c.unary("neg", z))
	z = c.binary("min", c.binary("max", z, c.number(least)), c.number(1-least))
	r := make([][]*ir.Value, k)
	for i := range r {
		r[i] = make([]*ir.Value, k)
	}
	for p, ij := range pairs {
		v := c.cut(z, 1, p, 1)
		r[ij[0]][ij[1]], r[ij[1]][ij[0]] = v, c.binary("sub", c.number(1), v)
	}
	q, diagonal := make([]*ir.Value, k), make([]*ir.Value, k)
	for t := range k {
		row := make([]*ir.Value, k)
		for j := range k {
			if j == t {
				continue
			}
			row[j] = c.unary("neg", c.binary("mul", r[j][t], r[t][j]))
			square := c.binary("mul", r[j][t], r[j][t])
			if diagonal[t] == nil {
				diagonal[t] = square
			} else {
				diagonal[t] = c.binary("add", diagonal[t], square)
			}
		}
		row[t] = diagonal[t]
		q[t] = c.join(1, row...)
	}
	// 1/k in each row; q has their number.
	p := c.binary("add", c.binary("mul", q[0], c.number(0)), c.number(1/float32(k)))
	for range couplingSweeps {
		p = c.couplingSweep(p, q, diagonal)
	}
	return p
}

// couplingSweep moves each class's probability once to where the others want it.
func (c *context) couplingSweep(p *ir.Value, q, diagonal []*ir.Value) *ir.Value {
	if c.err != nil {
		return p
	}
	k := len(q)
	var qp *ir.Value
	for t := range q {
		v := c.binary("mul", q[t], c.cut(p, 1, t, 1))
		if qp == nil {
			qp = v
		} else {
			qp = c.binary("add", qp, v)
		}
	}
	rows := []int{1}
	pqp := c.add(ir.Reduce{Fn: "sum", Axes: rows}, c.binary("mul", p, qp))
	far := c.add(ir.Reduce{Fn: "max", Axes: rows}, c.unary("abs", c.binary("sub", qp, pqp)))
	goes := c.positive(c.unary("sign", c.binary("sub", far, c.number(0.005/float32(k)))))
	for t := range q {
		own := c.cut(qp, 1, t, 1)
		by := c.binary("mul", goes, c.binary("div", c.binary("sub", pqp, own), diagonal[t]))
		whole := c.binary("add", by, c.number(1))
		more := c.binary("mul", by, c.binary("add", c.binary("mul", by, diagonal[t]), c.binary("mul", own, c.number(2))))
		pqp = c.binary("div", c.binary("div", c.binary("add", pqp, more), whole), whole)
		qp = c.binary("div", c.binary("add", qp, c.binary("mul", q[t], by)), whole)
		unit := make([]float32, k)
		unit[t] = 1
		p = c.binary("div", c.binary("add", p, c.binary("mul", by, c.floats(unit, k))), whole)
	}
	return p
}
