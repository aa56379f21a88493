package hub

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/isomer-iot/isomer/fleet"
	"github.com/isomer-iot/isomer/fleet/broker"
	"github.com/isomer-iot/isomer/fleet/disk"
	"github.com/isomer-iot/isomer/fleet/hub/registry"
	"github.com/isomer-iot/isomer/fleet/identity"
)

// Server is one server of an external cluster, as InitServers describes it.
type Server struct {
	Name string // unique in the cluster
	Host string // under which hubs, nodes and the other servers reach it
	// Ports. 0: 4222, 7422 and 6222.
	Client, Leaf, Cluster int
	// Listen is the address of the machine on which it listens. Empty: all.
	Listen string
}

// ParseServer reads "name=host" or "host", whose first label is the name then.
func ParseServer(s string) (Server, error) {
	name, host, ok := strings.Cut(s, "=")
	if !ok {
		host = s
		name, _, _ = strings.Cut(s, ".")
	}
	if net.ParseIP(host) != nil && !ok {
		return Server{}, fmt.Errorf("%w: server %s: an address has no name; want NAME=%s", fleet.ErrInvalid, host, host)
	}
	return Server{Name: name, Host: host}, fleet.CheckName("server", name)
}

func (s *Server) defaults() {
	for p, v := range map[*int]int{&s.Client: 4222, &s.Leaf: 7422, &s.Cluster: 6222} {
		if *p == 0 {
			*p = v
		}
	}
	if s.Listen == "" {
		s.Listen = "0.0.0.0"
	}
}

func (s Server) at(port int) string { return net.JoinHostPort(s.Listen, strconv.Itoa(port)) }

// InitServers makes the fleet's authority in the hub's folder dir, where there is none, and writes for each server of an
// external cluster a folder in dir/nats that has all it needs: nats-server -c nats.conf, started in the folder.
// The folders hold the servers' TLS keys, and no key that signs anything. It returns the folders.
func InitServers(dir string, servers []Server, insecure bool) ([]string, error) {
	a, err := identity.Open(filepath.Join(dir, "identity"))
	if err != nil {
		return nil, err
	}
	// The hub's own keys too, so that every hub that gets a copy of identity/ has the same.
	if _, err := registry.LoadOnline(filepath.Join(dir, "identity", "online.json")); err != nil {
		return nil, err
	}
	servers = slices.Clone(servers)
	for i := range servers {
		servers[i].defaults()
		if err := fleet.CheckName("server", servers[i].Name); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(servers[:i], func(s Server) bool { return s.Name == servers[i].Name }) {
			return nil, fmt.Errorf("%w: two servers are called %s", fleet.ErrInvalid, servers[i].Name)
		}
	}
	var folders []string
	for i, s := range servers {
		folder := filepath.Join(dir, "nats", s.Name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
		if err := writeServer(folder, a, servers, i, insecure); err != nil {
			return nil, fmt.Errorf("server %s: %w", s.Name, err)
		}
		folders = append(folders, folder)
	}
	return folders, nil
}

func writeServer(folder string, a *identity.Authority, servers []Server, i int, insecure bool) error {
	files := map[string][]byte{
		"nats.conf":    []byte(serverConfig(a, servers, i, insecure)),
		"operator.jwt": []byte(a.Operator()),
	}
	if !insecure {
		cert, err := a.Server(servers[i].Name, []string{servers[i].Host})
		if err != nil {
			return err
		}
		key, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey)) // as the authority makes them
		if err != nil {
			return err
		}
		var chain []byte
		for _, der := range cert.Certificate {
			chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		files["ca.pem"], files["cert.pem"] = []byte(a.CA()), chain
		files["key.pem"] = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})
	}
	for name, b := range files {
		if err := disk.Write(disk.OS{}, filepath.Join(folder, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// serverConfig is the file of one server. What it says beside names and addresses is what the embedded server is given.
func serverConfig(a *identity.Authority, servers []Server, i int, insecure bool) string {
	s := servers[i]
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	secured := func(indent, more string) {
		if !insecure {
			say(`%stls { cert_file: "cert.pem", key_file: "key.pem", ca_file: "ca.pem", timeout: 10%s }`, indent, more)
		}
	}
	say("# A server of the fleet's NATS cluster, written by isomer hub init. Start it in this folder: nats-server -c nats.conf")
	say("server_name: %s", s.Name)
	say("listen: %q", s.at(s.Client))
	say("max_payload: %d # a picture for a call fits; edges have the same", broker.MaxPayload)
	say("max_connections: 100000")
	say("ping_interval: \"30s\"\nping_max: 2\nwrite_deadline: \"10s\"")
	secured("", "")
	say("\n# Edges are leaf nodes, with a JetStream in a domain of their own. The flag makes answers of theirs come to subjects with their names,\n# which is all that their claims let them publish.")
	say("feature_flags { js_api_reply_v2: true }")
	say("leafnodes {\n  listen: %q\n  no_advertise: true", s.at(s.Leaf))
	secured("  ", "")
	say("}")
	say("\n# What was acknowledged is on the disk: by default two minutes of it are not, after a power cut.")
	say("jetstream { store_dir: \"jetstream\", domain: %s, sync_interval: always }", fleet.Domain)
	say("\n# Who may come in: what the fleet's operator signed. The hub keeps the account's claims current, revocations\n# above all, through the system account; so the resolver is one that can be written to.")
	say("operator: \"operator.jwt\"")
	say("system_account: %s", a.SystemAccountID())
	say("resolver { type: full, dir: \"accounts\", allow_delete: false, interval: \"2s\", limit: 1000 }")
	say("resolver_preload {\n  %s: %s\n  %s: %s\n}", a.SystemAccountID(), a.SystemAccount(), a.AccountID(), a.Account())
	if len(servers) > 1 {
		say("\ncluster {\n  name: isomer\n  listen: %q", s.at(s.Cluster))
		secured("  ", ", verify: true") // servers prove themselves to each other
		say("  routes: [")
		for j, o := range servers {
			if j != i {
				say("    \"nats-route://%s\"", net.JoinHostPort(o.Host, strconv.Itoa(o.Cluster)))
			}
		}
		say("  ]\n}")
	}
	return b.String()
}
