package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
)

// swapFlags are how a new module gets into service, and what is kept of the one before.
type swapFlags struct {
	shadow    int
	shadowFor time.Duration
	tolerance float64
	history   string
}

func (f *swapFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.shadow, "shadow", 0, "compare `N` live calls on a new module before it serves, with --watch")
	c.Flags().DurationVar(&f.shadowFor, "shadow-for", time.Minute, "wait this `TIME` for those calls; then fewer do")
	c.Flags().Float64Var(&f.tolerance, "tolerance", 0, "let numbers in compared answers differ by `T`, relative above 1")
	c.Flags().StringVar(&f.history, "history", "", "keep the module that serves and the one before it in this `DIR`")
}

// options turns the flags into options of Open.
func (f *swapFlags) options(c *cobra.Command, watch bool) ([]isomer.Option, error) {
	var opts []isomer.Option
	shadow := c.Flags().Changed("shadow")
	for _, name := range []string{"shadow-for", "tolerance"} {
		if c.Flags().Changed(name) && !shadow {
			return nil, usage(c, "--%s is for --shadow", name)
		}
	}
	if shadow {
		switch {
		case !watch:
			return nil, usage(c, "--shadow is for --watch: without it no new module comes")
		case f.shadow < 1:
			return nil, usage(c, "--shadow %d: want 1 or more", f.shadow)
		case f.shadowFor <= 0:
			return nil, usage(c, "--shadow-for %v: want more than 0", f.shadowFor)
		case !(f.tolerance >= 0):
			return nil, usage(c, "--tolerance %g: want 0 or more", f.tolerance)
		}
		opts = append(opts, isomer.WithShadow(isomer.Shadow{Calls: f.shadow, For: f.shadowFor, Compare: isomer.Tolerance(f.tolerance)}))
	}
	if f.history != "" {
		opts = append(opts, isomer.WithHistory(f.history))
	} else if c.Flags().Changed("history") {
		return nil, usage(c, "--history: no directory")
	}
	return opts, nil
}

// casesOf says what an event counted.
func casesOf(e isomer.Event) string {
	switch {
	case e.Kind == isomer.ShadowStarted:
		return ", " + plural(e.Cases, "live call") + " to compare"
	case e.Kind == isomer.ShadowEnded:
		line := fmt.Sprintf(", %s compared, %d differed", plural(e.Cases, "live call"), e.Differed)
		if e.Dropped > 0 {
			line += fmt.Sprintf(", %d left out", e.Dropped)
		}
		return line
	case e.Cases > 0:
		return ", " + plural(e.Cases, "golden case")
	}
	return ""
}
