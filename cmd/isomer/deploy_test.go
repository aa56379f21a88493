package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What a person says on the command line, and the plan that the hub gets.
func TestFlagsOfARollout(t *testing.T) {
	for _, c := range []struct{ flags, plan, err string }{
		{"", `{"gate":{}}`, ""},
		{"--canary 10% --waves 30%,100%", `{"waves":["10%","30%","100%"],"gate":{}}`, ""},
		{"--canary 1 --waves 50%", `{"waves":["1","50%"],"gate":{}}`, ""},
		{"--soak 10m --patience 1h --concurrency 3 --max-offline 0", `{"concurrency":3,"soak":"10m0s","patience":"1h0m0s","offline":0,"gate":{}}`, ""},
		{
			"--max-refused 0.1 --max-errors 0 --max-slower 1.5 --min-calls 500",
			`{"gate":{"refused":0.1,"errors":0,"slower":1.5,"minCalls":500}}`, "",
		},
		{"--window sat,sun@22:00+4h", `{"gate":{},"window":{"days":[6,0],"from":"22h0m0s","for":"4h0m0s"}}`, ""},
		{"--window 22:00+4h --zone Europe/Berlin", `{"gate":{},"window":{"from":"22h0m0s","for":"4h0m0s","zone":"Europe/Berlin"}}`, ""},
		{"--zone Europe/Berlin", "", "--window"},
		{"--canary 0%", "", "percentage above 0"},
		{"--waves 30%,10%", "", "smaller than the one before"},
		{"--concurrency -1", "", "must not be negative"},
		{"--soak -1m", "", "must not be negative"},
		{"--max-offline 2", "", "offline must be 0 to 1"},
		{"--max-errors NaN", "", "errors must be 0 to 1"},
		{"--window 25:00+4h", "", "such as 22:00+4h"},
		{"--window 22:00+99h", "", "window"},
		{"--window foo@22:00+1h", "", `"foo" is none of mon`},
	} {
		var f deployFlags
		cmd := &cobra.Command{Use: "deploy"}
		f.add(cmd)
		if err := cmd.ParseFlags(strings.Fields(c.flags)); err != nil {
			t.Errorf("%s: %v", c.flags, err)
			continue
		}
		p, err := f.plan(cmd)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want one with %q", c.flags, err, c.err)
			}
			continue
		}
		got, jerr := json.Marshal(p)
		if err != nil || jerr != nil || string(got) != c.plan {
			t.Errorf("%s:\n got %s\nwant %s (%v, %v)", c.flags, got, c.plan, err, jerr)
		}
	}
}
