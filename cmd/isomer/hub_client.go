package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

// fleetCommands are those about a hub and its nodes.
func fleetCommands(std streams) []*cobra.Command {
	return append([]*cobra.Command{
		hubCommand(std), loginCommand(std), keysCommand(std), enrollCommand(std), nodeCommand(std), publishCommand(std),
		deployCommand(std), statusCommand(std), nodesCommand(std), releasesCommand(std), rolloutsCommand(std), logsCommand(std),
		revokeCommand(std), tokensCommand(std), auditCommand(std),
	}, rolloutCommands(std)...)
}

// hubAccess is how the command reaches a hub, as a file keeps it: the hub writes one for its own machine
// (admin.json in its data folder), and "isomer login" one for others.
type hubAccess struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	CA    string `json:"ca,omitempty"` // SHA-256 of the fleet's CA certificate
}

// hubFlags choose the hub and the token of a command.
type hubFlags struct{ url, token, ca string }

func (f *hubFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.url, "hub", os.Getenv("ISOMER_HUB"), "`URL` of the hub, of several in a cluster with commas (or ISOMER_HUB); default: what isomer login kept, or ./isomer-hub")
	c.Flags().StringVar(&f.token, "token", "", "API `TOKEN`; better ISOMER_TOKEN, which other processes do not see")
	c.Flags().StringVar(&f.ca, "ca", os.Getenv("ISOMER_CA"), "SHA-256 of the fleet's CA certificate, `HEX` (or ISOMER_CA)")
}

// loginFile is where "isomer login" keeps its access.
func loginFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", hint(err, "set HOME or XDG_CONFIG_HOME")
	}
	return filepath.Join(dir, "isomer", "hub.json"), nil
}

// access is the hub that flags, environment and files say, in this order.
func (f *hubFlags) access() (hubAccess, error) {
	a := hubAccess{URL: f.url, Token: f.token, CA: f.ca}
	if a.Token == "" {
		a.Token = os.Getenv("ISOMER_TOKEN")
	}
	if a.URL != "" && a.Token != "" {
		return a, nil
	}
	kept, err := loginFile()
	if err != nil {
		return a, err
	}
	for _, file := range []string{filepath.Join(hubDataDefault, "admin.json"), kept} {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return a, err
		}
		var have hubAccess
		if err := json.Unmarshal(b, &have); err != nil {
			return a, hint(fmt.Errorf("%s: %w", file, err), "log in again with isomer login")
		}
		if a.URL != "" && a.URL != have.URL {
			continue // this file is about another hub
		}
		if a.Token == "" {
			a.Token = have.Token
		}
		if a.CA == "" {
			a.CA = have.CA
		}
		a.URL = have.URL
		return a, nil
	}
	if a.URL == "" {
		return a, hint(errors.New("no hub is known"), "start one with isomer hub, or log in to one with isomer login URL")
	}
	return a, hint(errors.New("no token for the hub "+a.URL), "log in with isomer login %s, or set ISOMER_TOKEN", a.URL)
}

func (f *hubFlags) client() (*client.Client, error) {
	a, err := f.access()
	if err != nil {
		return nil, err
	}
	return client.New(client.Config{URL: a.URL, Token: a.Token, CA: a.CA})
}

// hubHint is advice on what a hub answered.
func hubHint(err error) (string, bool) {
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return "", false
	}
	switch e.Status {
	case http.StatusUnauthorized:
		return "log in again with isomer login URL; an admin makes tokens with isomer tokens create", true
	case http.StatusForbidden:
		return "an admin makes tokens with another role: isomer tokens create NAME --role deployer", true
	case http.StatusNotFound:
		return "isomer nodes, isomer releases and isomer rollouts list what there is", true
	case http.StatusConflict:
		return "isomer nodes and isomer rollouts say how things stand; repeat where somebody else was faster", true
	case http.StatusTooManyRequests:
		return "wait a second", true
	case http.StatusGatewayTimeout:
		return "the node is busy or away: give it more time with --wait, or look with isomer nodes", true
	}
	return "", false
}

// ago writes a time as people say it.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	switch {
	case d < time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func refText(r fleet.Ref) string {
	if r.IsZero() {
		return "–"
	}
	return r.String()
}

// modulesText is what a node runs, in a cell.
func modulesText(n fleet.NodeView) string {
	if n.Report == nil {
		return "–"
	}
	var parts []string
	for _, m := range n.Report.Modules {
		text := refText(m.Release)
		if m.State != fleet.Running {
			text += " (" + string(m.State)
			if m.Desired != m.Release && !m.Desired.IsZero() {
				text += " " + m.Desired.String()
			}
			text += ")"
		}
		parts = append(parts, text)
	}
	return orDash(strings.Join(parts, ", "))
}
