package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/isomer-iot/isomer/fleet"
)

// Version is the hub's.
func (c *Client) Version(ctx context.Context) (string, error) {
	v, err := get[struct{ Version string }](ctx, c, "/v1/version")
	return v.Version, err
}

// Releases returns all releases.
func (c *Client) Releases(ctx context.Context) ([]fleet.Release, error) {
	return get[[]fleet.Release](ctx, c, "/v1/releases")
}

// Nodes returns the nodes that the selector chooses, by name.
func (c *Client) Nodes(ctx context.Context, sel fleet.Selector) ([]fleet.NodeView, error) {
	return get[[]fleet.NodeView](ctx, c, "/v1/nodes?"+url.Values{"selector": {sel.String()}}.Encode())
}

// Node returns one node.
func (c *Client) Node(ctx context.Context, name string) (fleet.NodeView, error) {
	return get[fleet.NodeView](ctx, c, "/v1/nodes/"+url.PathEscape(name))
}

// Deployment is what Deploy asks for.
type Deployment struct {
	Release  fleet.Ref       `json:"release"`
	To       string          `json:"to"` // a selector as fleet.ParseSelector reads it
	Plan     fleet.Plan      `json:"plan"`
	Bindings []fleet.Binding `json:"bindings,omitempty"`
}

// Deploy begins a rollout.
func (c *Client) Deploy(ctx context.Context, d Deployment) (fleet.Deployment, error) {
	var out fleet.Deployment
	err := c.exchange(ctx, http.MethodPost, "/v1/deployments", d, &out)
	return out, err
}

// Deployments returns all deployments, the oldest first.
func (c *Client) Deployments(ctx context.Context) ([]fleet.Deployment, error) {
	return get[[]fleet.Deployment](ctx, c, "/v1/deployments")
}

// Rollouts returns all rollouts, the oldest first.
func (c *Client) Rollouts(ctx context.Context) ([]fleet.Rollout, error) {
	return get[[]fleet.Rollout](ctx, c, "/v1/rollouts")
}

// Rollout returns one rollout.
func (c *Client) Rollout(ctx context.Context, id string) (fleet.Rollout, error) {
	return get[fleet.Rollout](ctx, c, "/v1/rollouts/"+url.PathEscape(id))
}

// Command pauses, resumes, aborts or rolls back a rollout: the words are the API's.
func (c *Client) Command(ctx context.Context, id, command, reason string) (fleet.Rollout, error) {
	var out fleet.Rollout
	err := c.exchange(ctx, http.MethodPost, "/v1/rollouts/"+url.PathEscape(id)+"/"+url.PathEscape(command),
		map[string]string{"reason": reason}, &out)
	return out, err
}

// WatchRollout gives the rollout to see at each change, and returns nil when it ended. Where the connection
// is lost it returns an error; the caller may begin again.
func (c *Client) WatchRollout(ctx context.Context, id string, see func(fleet.Rollout)) error {
	ended := false
	err := c.stream(ctx, "/v1/rollouts/"+url.PathEscape(id)+"/watch", func(_ string, data []byte) (bool, error) {
		var r fleet.Rollout
		if err := json.Unmarshal(data, &r); err != nil {
			return false, err
		}
		see(r)
		ended = r.Phase.Ended()
		return !ended, nil
	})
	if err == nil && !ended {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Logs gives each line that the node keeps to see and, with follow, each further one until ctx ends.
func (c *Client) Logs(ctx context.Context, node string, follow bool, see func(fleet.LogLine)) error {
	path := "/v1/nodes/" + url.PathEscape(node) + "/logs"
	if follow {
		path += "?follow=true"
	}
	return c.stream(ctx, path, func(_ string, data []byte) (bool, error) {
		var l fleet.LogLine
		if err := json.Unmarshal(data, &l); err != nil {
			return false, err
		}
		see(l)
		return true, nil
	})
}

// Invitation is what a join token is made of.
type Invitation struct {
	Name   string         `json:"name"`
	Layer  fleet.Layer    `json:"layer"`
	Labels fleet.Labels   `json:"labels,omitempty"`
	Lasts  fleet.Duration `json:"lasts,omitempty"` // 0: a day
}

// Invite makes a join token. Its Root is the caller's to set.
func (c *Client) Invite(ctx context.Context, i Invitation) (fleet.JoinToken, error) {
	var out struct {
		Secret string   `json:"secret"`
		CA     string   `json:"ca"`
		Hubs   []string `json:"hubs"`
	}
	err := c.exchange(ctx, http.MethodPost, "/v1/joins", i, &out)
	return fleet.JoinToken{Hubs: out.Hubs, Secret: out.Secret, CA: out.CA, At: time.Now().Unix()}, err
}

// Revoke throws a node out for good.
func (c *Client) Revoke(ctx context.Context, node string) error {
	return c.exchange(ctx, http.MethodPost, "/v1/nodes/"+url.PathEscape(node)+"/revoke", nil, nil)
}

// Trust returns the TUF metadata by file name.
func (c *Client) Trust(ctx context.Context) (map[string][]byte, error) {
	return get[map[string][]byte](ctx, c, "/v1/trust")
}

// PutTrust uploads metadata that the developer's keys signed, and returns the releases that it lists anew.
func (c *Client) PutTrust(ctx context.Context, files map[string][]byte) ([]fleet.Release, error) {
	var out []fleet.Release
	err := c.exchange(ctx, http.MethodPut, "/v1/trust", files, &out)
	return out, err
}

// OnlineKeys are the hub's public keys for snapshot and timestamp, hexadecimal, for the root.
func (c *Client) OnlineKeys(ctx context.Context) (snapshot, timestamp string, err error) {
	k, err := get[struct{ Snapshot, Timestamp string }](ctx, c, "/v1/trust-keys")
	return k.Snapshot, k.Timestamp, err
}

// HasModule reports whether the hub keeps the module.
func (c *Client) HasModule(ctx context.Context, digest string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.request(ctx, http.MethodGet, "/v1/modules/"+digest, http.Header{"Range": {"bytes=0-0"}}, nil)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// PutModule uploads a module of size bytes, which r gives.
func (c *Client) PutModule(ctx context.Context, digest string, size int64, r io.Reader) error {
	resp, err := c.send(ctx, http.MethodPut, "/v1/modules/"+digest, http.Header{"Content-Type": {"application/wasm"}}, r, size)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Token is an API token as the hub shows it.
type Token struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Role    fleet.Role `json:"role"`
	By      string     `json:"by"`
	At      time.Time  `json:"at"`
	Expires *time.Time `json:"expires,omitempty"`
}

// Tokens returns all API tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return get[[]Token](ctx, c, "/v1/tokens")
}

// MakeToken makes an API token and returns its secret; lasts 0: it does not expire.
func (c *Client) MakeToken(ctx context.Context, name string, role fleet.Role, lasts time.Duration) (string, error) {
	in := map[string]any{"name": name, "role": role}
	if lasts != 0 {
		in["lasts"] = fleet.Duration(lasts)
	}
	var out struct{ Token string }
	err := c.exchange(ctx, http.MethodPost, "/v1/tokens", in, &out)
	return out.Token, err
}

// DropToken takes an API token back.
func (c *Client) DropToken(ctx context.Context, id string) error {
	return c.exchange(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil)
}

// Audit returns the newest entries of the audit log, at most limit, from since on.
func (c *Client) Audit(ctx context.Context, since time.Time, limit int) ([]fleet.AuditEntry, error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return get[[]fleet.AuditEntry](ctx, c, "/v1/audit?"+q.Encode())
}

// Enrol uses a join token; nodes do it with their own code, tests and phones with this.
func (c *Client) Enrol(ctx context.Context, r fleet.EnrolRequest) (fleet.Enrolment, error) {
	var out fleet.Enrolment
	err := c.exchange(ctx, http.MethodPost, "/v1/enrol", r, &out)
	return out, err
}
