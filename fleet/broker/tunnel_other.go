//go:build !linux

package broker

import "time"

// setUserTimeout does nothing: elsewhere a link without packets ends by the server's pings, after a minute and a half.
func setUserTimeout(uintptr, time.Duration) error { return nil }
