package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Binding connects a source to a function of a module, and its answer to a subject or a file, so that a node is
// useful without a program. Exactly one source is set: Subject, Every, At, Folder or Path. "{node}" in subjects,
// folders and paths is the node's name.
//
//	on sensors.{node}.frame → call read → publish meters.{node}.value
//
// A node may use its own subjects alone (OwnSubjects); an edge those of its devices as well.
type Binding struct {
	Name string `json:"name"` // within the module, as CheckName wants it
	Call string `json:"call"` // the function

	Subject string   `json:"subject,omitempty"` // NATS, wildcards allowed; MQTT topics arrive as subjects too. Who asks with a reply subject is answered
	Every   Duration `json:"every,omitempty"`   // a timer, from 10 ms; the input is Input
	At      []string `json:"at,omitempty"`      // a timer by the node's clock in UTC: "06:30", "06:30:15" or "mon,tue@06:30"; at most 24
	Folder  string   `json:"folder,omitempty"`  // files that appear there, below the node's folder "files"
	Path    string   `json:"path,omitempty"`    // POST to this path of the node's local API; the answer goes back as well

	Input json.RawMessage `json:"input,omitempty"` // of a timer

	// Publish is the subject of the answer, File where it is written, below the node's folder "files"; both empty: it is
	// dropped. In Publish {2} is the second part of the subject that came. In File {name} is the name of the file
	// that came, without its extension, and {time} when, such as 20260102T150405.000000Z.
	Publish string `json:"publish,omitempty"`
	File    string `json:"file,omitempty"`

	// Done is what becomes of a folder's file that was answered: empty or "delete", "move" to its subfolder done, "mark", which
	// leaves it and remembers it. A file that failed goes to the subfolder failed.
	Done string `json:"done,omitempty"`

	// Retries is how often a call that failed by trap, limit or a full queue is made again, 0 to 10, with a pause that doubles
	// from 100 ms. What fails then goes to the dead letters, tele.<node>.dead.<module>.<binding>.
	Retries int `json:"retries,omitempty"`

	// Parallel is how many subjects are worked on at once, 1 to 64; 0: 4. Messages of one subject keep their order.
	Parallel int `json:"parallel,omitempty"`
	// Queue is how many inputs may wait, 1 to 4096; 0: 64. They have 8 MiB together at most.
	Queue int `json:"queue,omitempty"`
	// Full is what happens when the queue is full: "drop-oldest" (what empty means for Subject), or "block" (for the others): who asks
	// by Path waits; of Subject, whose senders cannot be held, the newest are dropped once the connection's own queue of as many is full.
	Full string `json:"full,omitempty"`
}

// What Done and Full may be.
const (
	DoneDelete = "delete"
	DoneMove   = "move"
	DoneMark   = "mark"

	FullBlock      = "block"
	FullDropOldest = "drop-oldest"
)

// MaxBindings is how many bindings a module has at most on a node.
const MaxBindings = 64

// maxInput bounds a timer's input: it is in the desired state of each node.
const maxInput = 64 << 10

// Source is what feeds the binding: "subject", "timer", "folder" or "path".
func (b Binding) Source() string {
	switch {
	case b.Subject != "":
		return "subject"
	case b.Folder != "":
		return "folder"
	case b.Path != "":
		return "path"
	}
	return "timer"
}

// Check says what is wrong with the binding, wherever it may run.
func (b Binding) Check() error {
	if err := CheckName("binding", b.Name); err != nil {
		return err
	}
	if b.Call == "" || len(b.Call) > 255 {
		return invalid("binding %s: call names the function, in 1 to 255 bytes", b.Name)
	}
	sources := 0
	for _, set := range []bool{b.Subject != "", b.Every != 0, len(b.At) > 0, b.Folder != "", b.Path != ""} {
		if set {
			sources++
		}
	}
	if sources != 1 {
		return invalid("binding %s: set exactly one of subject, every, at, folder and path", b.Name)
	}
	if err := errors.Join(b.checkTimer(), b.checkFiles(), b.checkLimits()); err != nil {
		return err
	}
	if b.Path != "" {
		if err := checkPath(b.Path); err != nil {
			return invalid("binding %s: %v", b.Name, err)
		}
	}
	if b.Subject != "" {
		if err := checkSubject(b.Subject, true); err != nil {
			return invalid("binding %s: %v", b.Name, err)
		}
	}
	if b.Publish != "" {
		if err := checkSubject(withoutParts(b.Publish), false); err != nil {
			return invalid("binding %s: %v", b.Name, err)
		}
		if b.Subject == "" && withoutParts(b.Publish) != b.Publish {
			return invalid("binding %s: publish %q: there is no subject whose parts it could have", b.Name, b.Publish)
		}
		if b.Subject != "" && covers(b.Subject, b.Publish) {
			return invalid("binding %s: it would hear what it publishes itself: %s is among %s", b.Name, b.Publish, b.Subject)
		}
	}
	return nil
}

func (b Binding) checkTimer() error {
	if b.Every != 0 && b.Every < Duration(10*time.Millisecond) {
		return invalid("binding %s: every %v is shorter than 10ms", b.Name, b.Every)
	}
	if len(b.At) > 24 {
		return invalid("binding %s: at has %d times, at most 24 are allowed", b.Name, len(b.At))
	}
	for _, s := range b.At {
		if _, err := ParseDaily(s); err != nil {
			return invalid("binding %s: at: %v", b.Name, err)
		}
	}
	if len(b.Input) > 0 && b.Source() != "timer" {
		return invalid("binding %s: input is for timers", b.Name)
	}
	if len(b.Input) > maxInput {
		return invalid("binding %s: input has %d bytes, at most %d are allowed", b.Name, len(b.Input), maxInput)
	}
	return nil
}

func (b Binding) checkFiles() error {
	for what, p := range map[string]string{"folder": b.Folder, "file": b.File} {
		if p != "" && (path.IsAbs(p) || path.Clean(p) != p || p == "." || strings.HasPrefix(p, "..") || strings.ContainsAny(p, "\\\x00") || len(p) > 255) {
			return invalid("binding %s: %s %.40q: want a path below the node's folder, such as frames/front", b.Name, what, p)
		}
	}
	for rest := b.File; rest != ""; {
		_, after, found := strings.Cut(rest, "{")
		word, tail, _ := strings.Cut(after, "}")
		if found && !slices.Contains([]string{"node", "name", "time"}, word) {
			return invalid("binding %s: file: {%.20s} is none of {node}, {name}, {time}", b.Name, word)
		}
		rest = tail
	}
	switch b.Done {
	case "", DoneDelete, DoneMove, DoneMark:
	default:
		return invalid("binding %s: done %.20q is none of delete, move, mark", b.Name, b.Done)
	}
	if b.Done != "" && b.Folder == "" {
		return invalid("binding %s: done is for folders", b.Name)
	}
	if b.Folder != "" && b.File != "" && path.Dir(b.File) == b.Folder {
		return invalid("binding %s: it would read what it writes itself, in %s", b.Name, b.Folder)
	}
	return nil
}

func (b Binding) checkLimits() error {
	if b.Retries < 0 || b.Retries > 10 {
		return invalid("binding %s: retries must be 0 to 10, got %d", b.Name, b.Retries)
	}
	if b.Parallel < 0 || b.Parallel > 64 {
		return invalid("binding %s: parallel must be 0 to 64, got %d", b.Name, b.Parallel)
	}
	if b.Queue < 0 || b.Queue > 4096 {
		return invalid("binding %s: queue must be 0 to 4096, got %d", b.Name, b.Queue)
	}
	switch b.Full {
	case "", FullBlock, FullDropOldest:
		return nil
	}
	return invalid("binding %s: full %.20q is none of block, drop-oldest", b.Name, b.Full)
}

// checkPath takes paths that no other path of the local API begins.
func checkPath(p string) error {
	switch {
	case len(p) > 255 || !strings.HasPrefix(p, "/") || p == "/" || path.Clean(p) != p:
		return fmt.Errorf("path %.40q: want such as /frames/front", p)
	case p == "/v1" || strings.HasPrefix(p, "/v1/") || p == "/metrics" || p == "/healthz":
		return fmt.Errorf("path %q is the local API's own", p)
	case strings.ContainsFunc(strings.ReplaceAll(p, "{node}", ""), func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("{}?#%\\", c) }):
		return fmt.Errorf("path %.40q has a character that it cannot have", p)
	}
	return nil
}

// For is the binding as it is on a node, with its name instead of {node}. It is refused where it uses what is not
// the node's.
func (b Binding) For(node string, layer Layer) (Binding, error) {
	if err := b.Check(); err != nil {
		return Binding{}, err
	}
	for _, s := range []*string{&b.Subject, &b.Publish, &b.Folder, &b.File, &b.Path} {
		*s = strings.ReplaceAll(*s, "{node}", node)
	}
	if b.Subject != "" && !mayUse(node, layer, b.Subject) {
		return Binding{}, invalid("binding %s: %s may not listen to %s: %s", b.Name, node, b.Subject, whose(node, layer))
	}
	if b.Publish != "" && !mayPublish(node, layer, b.Publish) {
		return Binding{}, invalid("binding %s: %s may not publish to %s: %s, and tele.%s.metric", b.Name, node, b.Publish, whose(node, layer), node)
	}
	if b.Subject != "" && covers(b.Subject, b.Publish) {
		return Binding{}, invalid("binding %s: it would hear what it publishes itself: %s is among %s", b.Name, b.Publish, b.Subject)
	}
	return b, nil
}

func whose(node string, layer Layer) string {
	own := strings.Join(OwnSubjects(), ", ")
	if layer == Edge {
		return "an edge has " + own + ", each with the name of a node behind it"
	}
	return "it has " + own + ", each with ." + node + "."
}

func mayUse(node string, layer Layer, subject string) bool {
	parts := strings.Split(subject, ".")
	return len(parts) >= 3 && slices.Contains(OwnSubjects(), parts[0]) && (parts[1] == node || layer == Edge)
}

func mayPublish(node string, layer Layer, subject string) bool {
	metric := TelemetrySubject(node, MetricSubject)
	return mayUse(node, layer, subject) || subject == metric || strings.HasPrefix(subject, metric+".")
}

// Answer is where an answer to a message of the subject goes: Publish with the subject's parts. The parts come from
// whoever published, so that the outcome is looked at again.
func (b Binding) Answer(node string, layer Layer, subject string) (string, error) {
	if withoutParts(b.Publish) == b.Publish {
		return b.Publish, nil
	}
	parts := strings.Split(subject, ".")
	out := strings.Split(b.Publish, ".")
	for i, t := range out {
		if n, ok := part(t); ok {
			if n > len(parts) {
				return "", invalid("binding %s: %s has no part %d for %s", b.Name, subject, n, b.Publish)
			}
			out[i] = parts[n-1]
		}
	}
	s := strings.Join(out, ".")
	if err := checkSubject(s, false); err != nil {
		return "", err
	}
	if !mayPublish(node, layer, s) || covers(b.Subject, s) {
		return "", invalid("binding %s: %s may not answer %s at %s", b.Name, node, subject, s)
	}
	return s, nil
}

// part reads "{2}".
func part(t string) (int, bool) {
	if len(t) < 3 || t[0] != '{' || t[len(t)-1] != '}' {
		return 0, false
	}
	n, err := strconv.Atoi(t[1 : len(t)-1])
	return n, err == nil && n >= 1 && n <= 32
}

// withoutParts is a subject with a word for each of its parts like {2}.
func withoutParts(s string) string {
	out := strings.Split(s, ".")
	for i, t := range out {
		if _, ok := part(t); ok {
			out[i] = "part"
		}
	}
	return strings.Join(out, ".")
}

// covers reports whether a subject without wildcards may be among those that a pattern names; its parts like {2} may be any word.
func covers(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, t := range p {
		switch {
		case t == ">":
			return len(s) > i
		case i >= len(s):
			return false
		case t != "*" && t != s[i]:
			if _, any := part(s[i]); !any {
				return false
			}
		}
	}
	return len(p) == len(s)
}

// CheckBindings says what is wrong with the bindings of one module.
func CheckBindings(list []Binding) error {
	if err := checkEach(list); err != nil {
		return err
	}
	return checkCircles(list)
}

// checkEach leaves out what an older hub let in, for which a node should not refuse all it is to do.
func checkEach(list []Binding) error {
	if len(list) > MaxBindings {
		return invalid("%d bindings, at most %d are allowed for a module", len(list), MaxBindings)
	}
	seen := map[string]bool{}
	for _, b := range list {
		if err := b.Check(); err != nil {
			return err
		}
		if seen[b.Name] {
			return invalid("binding %s is there twice", b.Name)
		}
		seen[b.Name] = true
	}
	return nil
}

// checkCircles refuses bindings that feed one another without end, such as a -> b beside b -> a: one message would keep
// a core busy for good. Other modules' bindings are the node's to look at; what a module publishes itself, and other nodes' bindings,
// nobody sees.
func checkCircles(list []Binding) error {
	const (
		unseen = iota
		entered
		left
	)
	state := make([]int, len(list))
	var walk func(i int) error
	walk = func(i int) error {
		state[i] = entered
		for j := range list {
			if !list[i].Feeds(list[j]) {
				continue
			}
			if state[j] == entered {
				return invalid("binding %s: what it answers comes back to it through %s, without end", list[j].Name, list[i].Name)
			}
			if state[j] == unseen {
				if err := walk(j); err != nil {
					return err
				}
			}
		}
		state[i] = left
		return nil
	}
	for i := range list {
		if state[i] == unseen {
			if err := walk(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Feeds reports whether what b answers may be among what c takes. Parts of what came, as in actuators.{2}.valve, may be
// anything.
func (b Binding) Feeds(c Binding) bool {
	if b.Publish != "" && c.Subject != "" {
		return covers(c.Subject, b.Publish)
	}
	return b.File != "" && c.Folder != "" && path.Dir(b.File) == c.Folder
}

// LocalBinding is a binding that a node's owner gives it in a file, whatever the hub wants. Its Folder and File may be
// absolute paths.
type LocalBinding struct {
	Module string `json:"module"`
	Binding
}

// Check is Binding.Check, but for paths.
func (b LocalBinding) Check() error {
	if err := CheckName("module", b.Module); err != nil {
		return err
	}
	c := b.Binding
	for _, p := range []*string{&c.Folder, &c.File} {
		if path.IsAbs(*p) && path.Clean(*p) == *p && len(*p) > 1 {
			*p = (*p)[1:]
		}
	}
	return c.Check()
}

// DecodeBindings reads a list of bindings in JSON that a person wrote: unknown fields are refused.
func DecodeBindings(b []byte) ([]Binding, error) {
	var list []Binding
	if err := decodeStrict(b, &list); err != nil {
		return nil, invalid("bindings: %v", err)
	}
	return list, CheckBindings(list)
}

// DecodeLocalBindings reads a node's own bindings in JSON, at most 256.
func DecodeLocalBindings(b []byte) ([]LocalBinding, error) {
	var list []LocalBinding
	if err := decodeStrict(b, &list); err != nil {
		return nil, invalid("bindings: %v", err)
	}
	if len(list) > 4*MaxBindings {
		return nil, invalid("%d bindings, at most %d are allowed", len(list), 4*MaxBindings)
	}
	var plain []Binding
	seen := map[string]bool{}
	for _, b := range list {
		if err := b.Check(); err != nil {
			return nil, err
		}
		if seen[b.Module+"."+b.Name] {
			return nil, invalid("binding %s of %s is there twice", b.Name, b.Module)
		}
		seen[b.Module+"."+b.Name] = true
		plain = append(plain, b.Binding)
	}
	return list, checkCircles(plain)
}

func decodeStrict(b []byte, v any) error {
	if len(b) > 1<<20 {
		return fmt.Errorf("%d bytes, at most 1 MiB are allowed", len(b))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the list")
	}
	return nil
}

// ParseBinding reads a binding in one line, SOURCE -> FUNCTION [-> TARGET]: the source is a subject, every:10s, at:06:30,
// folder:frames or path:/frames, the target a subject or file:out/{name}.json.
func ParseBinding(name, s string) (Binding, error) {
	fields := strings.Split(strings.ReplaceAll(s, "→", "->"), "->")
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	if len(fields) < 2 || len(fields) > 3 {
		return Binding{}, invalid("binding %.60q: want SOURCE -> FUNCTION -> TARGET, such as sensors.{node}.frame -> read -> meters.{node}.value", s)
	}
	b := Binding{Name: name, Call: fields[1]}
	kind, rest, ok := strings.Cut(fields[0], ":")
	switch {
	case !ok:
		b.Subject = fields[0]
	case kind == "every":
		if err := b.Every.UnmarshalText([]byte(rest)); err != nil {
			return Binding{}, err
		}
	case kind == "at":
		b.At = []string{rest}
	case kind == "folder":
		b.Folder = rest
	case kind == "path":
		b.Path = rest
	default:
		return Binding{}, invalid("binding %.60q: source %.20s: is none of every:, at:, folder:, path:", s, kind)
	}
	if len(fields) == 3 {
		if file, ok := strings.CutPrefix(fields[2], "file:"); ok {
			b.File = file
		} else {
			b.Publish = fields[2]
		}
	}
	return b, b.Check()
}
