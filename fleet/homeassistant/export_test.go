package homeassistant

import "time"

// A broker that is stopped may still take a connection and never answer it.
func init() { connectPatience = time.Second }
