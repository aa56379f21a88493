// Package descriptors says how many files and connections this process may have open, and how hubs and edges divide them, so
// that strangers' connections never take those that state is written with. Use it where connections are limited.
package descriptors

// Unknown is what Limit says where the system has no such limit, or does not tell.
const Unknown = 1 << 20

// Shares divides a limit of open files: three quarters are for clients of the broker, an eighth is for the HTTP API, and
// an eighth for files, edges and other hubs, at least 256 where that leaves something.
func Shares(limit int) (clients, api int) {
	rest := min(max(limit/8, 256), limit/2)
	api = max((limit-rest)/7, 16)
	return max(limit-rest-api, 16), api
}
