package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A device's program is small by what it leaves out.
func TestADeviceHasNoBrokerHubOrCompiler(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, not := range []string{"github.com/nats-io/nats-server", "/fleet/hub", "/fleet/broker", "/fleet/edge", "/isomer/compiler", "danielgtaylor/huma"} {
			if strings.Contains(dep, not) {
				t.Errorf("it imports %s", dep)
			}
		}
	}
}
