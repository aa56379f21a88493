package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

func rolloutsCommand(std streams) *cobra.Command {
	var f hubFlags
	var asJSON bool
	c := &cobra.Command{
		Use:     "rollouts [ID]",
		Short:   "List rollouts, or show one with its history",
		Example: "  isomer rollouts\n  isomer rollouts 20261123-101502123-9f3c11aa --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				r, err := hub.Rollout(c.Context(), args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(std.out, r)
				}
				return showRollout(std.out, r)
			}
			all, err := hub.Rollouts(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, all)
			}
			t := newTable(std.out)
			t.row("ROLLOUT", "RELEASE", "PHASE", "WAVE", "UPDATED", "REFUSED", "MISSING", "SINCE")
			for _, r := range slices.Backward(all) {
				t.row(r.Deployment, r.Release, r.Phase, waveText(r), fmt.Sprintf("%d/%d", r.Updated, r.Chosen), r.Refused, r.Missing, ago(r.Since))
			}
			if len(all) == 0 {
				fmt.Fprintln(std.err, "no rollout; isomer deploy NAME@VERSION --to SELECTOR begins one")
			}
			return t.flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func waveText(r fleet.Rollout) string { return fmt.Sprintf("%d/%d", min(r.Wave+1, r.Waves), r.Waves) }

func showRollout(w io.Writer, r fleet.Rollout) error {
	t := newTable(w)
	t.row("rollout", r.Deployment)
	t.row("release", r.Release)
	t.row("phase", r.Phase)
	t.row("wave", waveText(r))
	t.row("nodes", fmt.Sprintf("%d chosen, %d updated, %d refused, %d missing", r.Chosen, r.Updated, r.Refused, r.Missing))
	for i, h := range r.History {
		label := ""
		if i == 0 {
			label = "history"
		}
		t.row(label, transitionText(h))
	}
	return t.flush()
}

func transitionText(h fleet.Transition) string {
	text := fmt.Sprintf("%s  wave %d  %s → %s: %s", h.At.Local().Format(time.TimeOnly), h.Wave+1, h.From, h.To, h.Reason)
	if h.By != "" {
		text += " (" + h.By + ")"
	}
	return plain(text) // a reason may quote a node, and what it quotes is anyone's
}

// rolloutEndings are the errors of a rollout that did not reach its nodes.
type rolloutError struct{ r fleet.Rollout }

func (e *rolloutError) Error() string {
	reason := "no reason was recorded"
	if n := len(e.r.History); n > 0 {
		reason = e.r.History[n-1].Reason
	}
	return fmt.Sprintf("rollout %s of %s is %s: %s", e.r.Deployment, e.r.Release, e.r.Phase, reason)
}

// follow prints each transition of a rollout until it ends, through lost connections, and says how it ended.
func follow(ctx context.Context, std streams, hub *client.Client, id string) (fleet.Rollout, error) {
	var last fleet.Rollout
	shown := time.Time{}
	line := ""
	for {
		err := hub.WatchRollout(ctx, id, func(r fleet.Rollout) {
			for _, h := range r.History {
				if h.At.After(shown) {
					fmt.Fprintln(std.err, transitionText(h))
					shown = h.At
				}
			}
			now := fmt.Sprintf("  wave %s: %d of %d nodes updated, %d refused, %d missing", waveText(r), r.Updated, r.Chosen, r.Refused, r.Missing)
			if r.Chosen == 0 {
				now = "  no node that has joined is chosen; it begins with the first (isomer nodes)"
			}
			if now != line && !r.Phase.Ended() {
				line = now
				fmt.Fprintln(std.err, line)
			}
			last = r
		})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return last, ctx.Err()
		}
		if e, ok := errors.AsType[*client.Error](err); ok && e.Status < 500 {
			return last, err
		}
		select { // the hub is away: it goes on where it was
		case <-time.After(time.Second):
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
	if last.Phase != fleet.Completed {
		return last, &rolloutError{last}
	}
	return last, nil
}

// rolloutCommand is pause, resume, abort or rollback.
func rolloutCommand(std streams, word, short, long, why string) *cobra.Command {
	var f hubFlags
	var reason string
	var asJSON bool
	c := &cobra.Command{
		Use:     word + " [ROLLOUT]",
		Short:   short,
		Long:    long + "\nWithout ROLLOUT it is the newest one.",
		Example: "  isomer " + word + " --reason '" + why + "'\n  isomer " + word + " 20261123-101502123-9f3c11aa --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			hub, err := f.client()
			if err != nil {
				return err
			}
			id := ""
			if len(args) == 1 {
				id = args[0]
			} else {
				all, err := hub.Rollouts(c.Context())
				if err != nil {
					return err
				}
				if len(all) == 0 {
					return hint(errors.New("there is no rollout"), "isomer deploy begins one")
				}
				id = all[len(all)-1].Deployment
			}
			r, err := hub.Command(c.Context(), id, word, reason)
			if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusUnprocessableEntity {
				return hint(err, "isomer rollouts %s shows what became of it", id)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(std.out, r)
			}
			_, err = fmt.Fprintf(std.err, "rollout %s of %s: %s\n", r.Deployment, r.Release, r.Phase)
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for the history: `TEXT`")
	c.Flags().BoolVar(&asJSON, "json", false, "print the rollout as JSON")
	return c
}

func rolloutCommands(std streams) []*cobra.Command {
	return []*cobra.Command{
		rolloutCommand(std, "pause", "Pause a rollout", "Let no further node get the release until isomer resume; nodes that have it keep it.", "readings jump since noon"),
		rolloutCommand(std, "resume", "Go on with a paused rollout", "Go on where a rollout was paused.", "looked at dev7: its lamp was off"),
		rolloutCommand(std, "abort", "End a rollout where it is", "End a rollout: nodes that have the release keep it, no other gets it.", "the old module will do for the rest"),
		rolloutCommand(std, "rollback", "Undo a rollout", "Return the nodes of a rollout, finished or not, to what they ran before.", "meters report nonsense"),
	}
}
