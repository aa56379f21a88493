// Package brokertest has what tests of whatever speaks to a broker need: a plain server with JetStream, and addresses for servers
// that are stopped and started again.
//
// Compatibility: none.
package brokertest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Address is one of host's addresses that nobody listens on. Its port is none of those that a system hands out by itself,
// which another connection could have got by the time the server comes back.
func Address(t testing.TB, host string) string {
	t.Helper()
	for range 1000 {
		address := net.JoinHostPort(host, strconv.Itoa(12000+rand.IntN(20000)))
		l, err := net.Listen("tcp", address)
		if err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatalf("no port of %s is free", host)
	return ""
}
