package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

type deployFlags struct {
	hub                         hubFlags
	to, canary, waves, bindings string
	window, zone                string
	soak, patience              time.Duration
	concurrency                 int
	errors, slower, refused     float64
	offline                     float64
	minCalls                    uint64
	watch, asJSON               bool
	bind                        []string
}

func deployCommand(std streams) *cobra.Command {
	var f deployFlags
	c := &cobra.Command{
		Use:   "deploy NAME@VERSION --to SELECTOR",
		Short: "Bring a release to nodes, wave by wave",
		Long: `Begin a rollout: the chosen nodes get the release in waves, each watched before the next begins. A node
tries the release on its golden cases before it serves. Where nodes refuse it, fail more calls or answer
more slowly than with the release before, the rollout goes back by itself.

SELECTOR is "all" or such as layer=device,site=a|b. Shares are percentages or numbers of nodes, of all
chosen ones.

--bind connects the module on each of the nodes: SOURCE -> FUNCTION -> TARGET, where the source is a subject,
every:10s, at:06:30, folder:frames or path:/frames, and the target a subject or file:out/{name}.json.
--bindings FILE (YAML or JSON) has all that a binding can say: docs/fleet.md.`,
		Example: `  isomer deploy digits@1.2.0 --to layer=device,site=a --canary 10% --waves 30%,100% --soak 10m --watch
  isomer deploy digits@1.2.0 --to name=dev7
  isomer deploy digits@1.2.0 --to site=a --window sat,sun@22:00+4h --zone Europe/Berlin
  isomer deploy digits@1.2.0 --to all --bind 'sensors.{node}.frame -> read -> meters.{node}.value'`,
		Args: operands("NAME@VERSION"),
		RunE: func(c *cobra.Command, args []string) error { return f.deploy(c, std, args[0]) },
	}
	f.add(c)
	return c
}

func (f *deployFlags) add(c *cobra.Command) {
	f.hub.add(c)
	flags := c.Flags()
	flags.StringVar(&f.to, "to", "", "`SELECTOR` of the nodes; required")
	flags.StringVar(&f.canary, "canary", "", "`SHARE` of the nodes that go first")
	flags.StringVar(&f.waves, "waves", "", "`SHARES` after each further wave, such as 30%,100%")
	flags.DurationVar(&f.soak, "soak", 0, "how long each wave is watched before the next")
	flags.DurationVar(&f.patience, "patience", 0, "how long a wave waits for nodes that do not answer (default 10m)")
	flags.IntVar(&f.concurrency, "concurrency", 0, "how many nodes may change at once; 0: a whole wave")
	flags.Float64Var(&f.refused, "max-refused", 0, "`PART` of a wave's nodes that may refuse the release, 0 to 1")
	flags.Float64Var(&f.errors, "max-errors", 0.01, "`PART` of calls, beyond the release before, that may fail")
	flags.Float64Var(&f.slower, "max-slower", 2, "how many times the p95 latency of the release before is allowed; 0: any")
	flags.Uint64Var(&f.minCalls, "min-calls", 20, "how many calls it takes to judge failures; ten times as many to judge latency")
	flags.Float64Var(&f.offline, "max-offline", 0.2, "`PART` of a wave's nodes that may be missing, 0 to 1")
	flags.StringVar(&f.window, "window", "", "when nodes may change: `FROM+FOR`, such as 22:00+4h or sat,sun@22:00+4h; in UTC unless --zone says otherwise")
	flags.StringVar(&f.zone, "zone", "", "time `ZONE` of --window, such as Europe/Berlin, summer time included")
	flags.StringVar(&f.bindings, "bindings", "", "`FILE` with the module's bindings")
	flags.StringArrayVar(&f.bind, "bind", nil, "a `BINDING` in one line; again for more")
	flags.BoolVar(&f.watch, "watch", false, "stay until the rollout ends; its failure is the command's")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
}

func (f *deployFlags) plan(c *cobra.Command) (fleet.Plan, error) {
	p := fleet.Plan{Concurrency: f.concurrency, Soak: fleet.Duration(f.soak), Patience: fleet.Duration(f.patience)}
	var shares []string
	if f.canary != "" {
		shares = append(shares, f.canary)
	}
	if f.waves != "" {
		shares = append(shares, strings.Split(f.waves, ",")...)
	}
	for _, s := range shares {
		w, err := fleet.ParseShare(strings.TrimSpace(s))
		if err != nil {
			return p, err
		}
		p.Waves = append(p.Waves, w)
	}
	for name, field := range map[string]struct {
		to   **float64
		from *float64
	}{
		"max-refused": {&p.Gate.Refused, &f.refused}, "max-errors": {&p.Gate.Errors, &f.errors},
		"max-slower": {&p.Gate.Slower, &f.slower}, "max-offline": {&p.Offline, &f.offline},
	} {
		if c.Flags().Changed(name) {
			*field.to = field.from
		}
	}
	if c.Flags().Changed("min-calls") {
		p.Gate.MinCalls = &f.minCalls
	}
	if f.window != "" {
		w, err := parseWindow(f.window)
		if err != nil {
			return p, usage(c, "--window: %w", err)
		}
		w.Zone = f.zone
		p.Window = &w
	} else if f.zone != "" {
		return p, usage(c, "--zone is the time zone of --window, such as 22:00+4h, which is missing")
	}
	return p, p.Check()
}

// parseWindow reads "22:00+4h" or "sat,sun@22:00+4h".
func parseWindow(s string) (fleet.Window, error) {
	var w fleet.Window
	days, rest, ok := strings.Cut(s, "@")
	if !ok {
		days, rest = "", s
	}
	if days != "" {
		for d := range strings.SplitSeq(days, ",") {
			day, ok := weekdays[strings.ToLower(d)]
			if !ok {
				return w, fmt.Errorf("day %q is none of mon, tue, wed, thu, fri, sat, sun", d)
			}
			w.Days = append(w.Days, day)
		}
	}
	from, length, ok := strings.Cut(rest, "+")
	at, err := time.Parse("15:04", from)
	if !ok || err != nil {
		return w, fmt.Errorf("%q: want such as 22:00+4h", s)
	}
	d, err := time.ParseDuration(length)
	if err != nil {
		return w, fmt.Errorf("%q: want such as 22:00+4h", s)
	}
	w.From = fleet.Duration(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
	w.For = fleet.Duration(d)
	return w, w.Check()
}

var weekdays = map[string]time.Weekday{
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday,
	"thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// readBindings reads a list of bindings in YAML, of which JSON is a part.
func readBindings(c *cobra.Command, std streams, file string) ([]fleet.Binding, error) {
	b, err := readInput(c.Context(), std, file)
	if err != nil {
		return nil, err
	}
	var loose any
	if err := yaml.Unmarshal(b, &loose); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if b, err = json.Marshal(loose); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out, err := fleet.DecodeBindings(b)
	if err != nil {
		return nil, hint(fmt.Errorf("%s: %w", file, err), "it is a list of bindings, each with name, call, and one of subject, every, at, folder, path: docs/fleet.md")
	}
	return out, nil
}

func (f *deployFlags) deploy(c *cobra.Command, std streams, release string) error {
	ref, err := fleet.ParseRef(release)
	if err != nil {
		return err
	}
	if f.to == "" {
		return usage(c, `say with --to which nodes: "all", or such as layer=device,site=a`)
	}
	if _, err := fleet.ParseSelector(f.to); err != nil {
		return err
	}
	d := client.Deployment{Release: ref, To: f.to}
	if d.Plan, err = f.plan(c); err != nil {
		return err
	}
	if f.bindings != "" {
		if d.Bindings, err = readBindings(c, std, f.bindings); err != nil {
			return err
		}
	}
	for i, s := range f.bind {
		b, err := fleet.ParseBinding("bind"+strconv.Itoa(i+1), s)
		if err != nil {
			return usage(c, "--bind: %w", err)
		}
		d.Bindings = append(d.Bindings, b)
	}
	if err := fleet.CheckBindings(d.Bindings); err != nil {
		return err
	}
	hub, err := f.hub.client()
	if err != nil {
		return err
	}
	made, err := hub.Deploy(c.Context(), d)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.err, "rollout %s of %s to %s\n", made.ID, made.Release, made.To)
	if !f.watch {
		if f.asJSON {
			return writeJSON(std.out, made)
		}
		fmt.Fprintf(std.err, "isomer rollouts %s shows how far it is\n", made.ID)
		return nil
	}
	r, err := follow(c.Context(), std, hub, made.ID)
	if f.asJSON {
		if werr := writeJSON(std.out, r); err == nil {
			err = werr
		}
	}
	return err
}
