package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A process that was killed cannot say why. What it leaves is a mark, set while it is in the hands of a release: while it
// opens it, tries it at its gate, or runs one of its calls. An end with the mark set is put down to the release; one
// without may be an operator's SIGKILL, the memory that another program took, or a power cut, and counts only where it goes on.
const (
	// maxUnproven ends with the mark set take a release back, or have it refused at its gate.
	maxUnproven = 3
	// maxEnds ends of any kind do, since the release came and before the agent ran for provenAfter with it: some releases kill
	// from outside, by the memory that they keep or the current that they draw.
	maxEnds = 10
)

// mark is a file that says whether the process is in the hands of a release. Its first byte is written without a sync: the
// kernel keeps it when the process dies, and when the machine goes down the mark counts for nothing, which the id of the boot
// in it shows. It costs a call 4 µs (BenchmarkMark), and that only until the release has proved itself.
type mark struct {
	path string

	mu sync.Mutex
	f  *os.File // nil: nothing is on trial
	n  int      // how many calls run
}

// watch begins the trial of a release.
func (m *mark) watch(digest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop()
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(m.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%d %s %s\n", min(m.n, 1), digest, bootID()); err != nil {
		_ = f.Close()
		return err
	}
	m.f = f
	return nil
}

// done ends the trial.
func (m *mark) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop()
	_ = os.Remove(m.path) // where that fails it names a release that is not on trial
}

// rest closes the file and leaves it.
func (m *mark) rest() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop()
}

// drop closes the file. m.mu is held.
func (m *mark) drop() {
	if m.f != nil {
		_ = m.f.Close()
		m.f = nil
	}
}

func (m *mark) enter() { m.count(1) }
func (m *mark) leave() { m.count(-1) }

func (m *mark) count(by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.n
	m.n += by
	if m.f == nil || (before == 0) == (m.n == 0) {
		return
	}
	_, _ = m.f.WriteAt([]byte{'0' + byte(min(m.n, 1))}, 0) // where it fails there is no evidence, and maxEnds holds
}

// left is the release in whose hands the process before this one died; empty: none, or the machine went down as well.
func (m *mark) left() (digest string) {
	b, err := os.ReadFile(m.path)
	if err != nil {
		return ""
	}
	if f := strings.Split(strings.TrimSpace(string(b)), " "); len(f) == 3 && f[0] == "1" && f[2] == bootID() {
		return f[1]
	}
	return ""
}

// bootID differs from one start of the machine to the next.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown" // not Linux: a power cut may be taken for a crash
	}
	return strings.TrimSpace(string(b))
}

// ended counts an end of the agent without an orderly stop against the release that it had, as far as there is evidence.
func (k *keeper) ended() {
	if d := k.tries.left(); d != "" {
		if k.rec.Tried.Digest != d {
			k.rec.Tried = tried{Digest: d}
		}
		k.rec.Tried.Ends++
	}
	if now := linked(k.current()); now != "" && k.rec.Unproven >= 0 {
		k.rec.Ends++
		if k.serves.left() == now {
			k.rec.Unproven++
		}
	}
	k.tries.done() // counted once
	k.serves.done()
}

// loop says why the release must be taken for the cause of a crash loop; empty: it need not.
func (k *keeper) loop() string {
	switch {
	case k.rec.Unproven >= maxUnproven:
		return fmt.Sprintf("the agent ended %d times while it opened or called the release", k.rec.Unproven)
	case k.rec.Ends >= maxEnds:
		return fmt.Sprintf("the agent ended %d times without a stop since the release came, and never ran for %v", k.rec.Ends, provenAfter)
	}
	return ""
}

// onTrial marks what is done with a release until it has proved itself.
func (k *keeper) onTrial(m *mark, digest string) {
	if err := m.watch(digest); err != nil {
		k.a.log.Debug("trial", "module", k.name, "error", err)
	}
}
