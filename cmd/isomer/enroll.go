package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nkeys"
	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/client"
)

func enrollCommand(std streams) *cobra.Command {
	var h hubFlags
	var k keysFlags
	var layer, name, labels string
	var lasts time.Duration
	var mqtt bool
	c := &cobra.Command{
		Use:     "enroll --layer LAYER --name NAME",
		Aliases: []string{"enrol"},
		Short:   "Make a one-time join token for a node",
		Long: `Make a join token and print it. It lets one node in, once. It carries the fingerprints of the fleet's CA and
of your signing keys, so that the node trusts these and no others, whoever it meets on its way.

With --mqtt the name is of something that speaks MQTT alone, such as a microcontroller, and what is printed is its
password, for two years and any user name. It is told once.`,
		Example: "  isomer enroll --layer edge --name gw1\n  isomer enroll --layer device --name dev7 --labels site=a,line=3\n  isomer enroll --layer mobile --name phone7\n  isomer enroll --mqtt --name ha > ha-password.txt",
		Args:    operands(),
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := fleet.ParseLayer(layer)
			if err != nil {
				return usage(c, "--layer: %w", err)
			}
			if err := fleet.CheckNode(name); err != nil {
				return usage(c, "--name: %w", err)
			}
			given, err := fleet.ParseLabels(labels)
			if err != nil {
				return usage(c, "--labels: %w", err)
			}
			hub, keys, err := openCurrent(c, std, &h, &k)
			if err != nil {
				return err
			}
			t, err := hub.Invite(c.Context(), client.Invitation{Name: name, Layer: l, Labels: given, Lasts: fleet.Duration(lasts)})
			if err != nil {
				return err
			}
			if t.Root, err = keys.Fingerprint(); err != nil {
				return err
			}
			if mqtt {
				return printPassword(c, std, hub, t, name)
			}
			how := "isomer node --join TOKEN"
			if l == fleet.Mobile {
				how += ", or in a browser " + t.Hubs[0] + "/node/#TOKEN"
			}
			fmt.Fprintf(std.err, "on %s, within %v: %s\n", name, lasts, how)
			_, err = fmt.Fprintln(std.out, t)
			return err
		},
	}
	h.add(c)
	k.add(c)
	c.Flags().StringVar(&layer, "layer", "device", "device, mobile, edge or cloud")
	c.Flags().StringVar(&name, "name", "", "`NAME` of the node; required")
	c.Flags().StringVar(&labels, "labels", "", "`LABELS` for selectors, such as site=a,line=3")
	c.Flags().BoolVar(&mqtt, "mqtt", false, "print a password for MQTT in place of a token")
	c.Flags().DurationVar(&lasts, "lasts", 24*time.Hour, "how long the token can be used")
	return c
}

// printPassword uses the token at once for a password. Its key is for nothing but its revocation, so nobody keeps the
// private half.
func printPassword(c *cobra.Command, std streams, hub *client.Client, t fleet.JoinToken, name string) error {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	key, err := kp.PublicKey()
	if err != nil {
		return err
	}
	e, err := hub.Enrol(c.Context(), fleet.EnrolRequest{Secret: t.Secret, Key: key, Root: t.Root, MQTT: true})
	if err != nil {
		return err
	}
	var topics []string
	for _, own := range append(fleet.OwnSubjects(), "tele") {
		topics = append(topics, own+"/"+name+"/#")
	}
	fmt.Fprintf(std.err, "the password of %s, for %s; isomer revoke %s ends it\n", name, strings.Join(topics, " "), name)
	_, err = fmt.Fprintln(std.out, e.JWT)
	return err
}
