package trust

func init() { workFactor = 10 } // scrypt: a second would be paid by each test otherwise

// SetMaxRootStep makes refreshes follow fewer roots, and returns what undoes it.
func SetMaxRootStep(n int64) (undo func()) {
	was := maxRootStep
	maxRootStep = n
	return func() { maxRootStep = was }
}
