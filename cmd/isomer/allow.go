package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/isomer-iot/isomer"
	"github.com/isomer-iot/isomer/abi"
)

// allowForms are the forms of --allow, for its errors.
const allowForms = "log, clock, random, kv=DIR, http=HOST[:PORT], publish=SUBJECT or read=/PATH=DIR"

// allowHelp is a paragraph for the help of commands that have --allow.
const allowHelp = `A module gets nothing of this machine unless --allow, given once for each, grants it:
  log                 its log lines go to stderr
  clock, random       the real time and real randomness, also through WASI
  kv=DIR              it keeps keys and values in files below DIR
  http=HOST[:PORT]    it sends requests to this host and to no other; no wildcards
  publish=SUBJECT     what it publishes is printed on stdout, a line of JSON each:
                      {"publish": SUBJECT, "payload": …}; * is one token, > the rest
  read=/PATH=DIR      it reads the files below DIR, as /PATH
"isomer inspect" shows what a module asks for.`

// allowFlag adds --allow.
func allowFlag(c *cobra.Command, list *[]string) {
	c.Flags().StringArrayVar(list, "allow", nil, "grant the module a `PERMISSION`: "+allowForms)
}

// allowOptions are the options of that flag. asJSON is how the module's log lines are written to stderr.
func allowOptions(c *cobra.Command, list []string, std streams, asJSON bool) ([]isomer.Option, error) {
	var opts []isomer.Option
	for _, item := range list {
		kind, arg, has := strings.Cut(item, "=")
		wrong := func(format string, args ...any) error {
			return usage(c, "--allow %s: %s", item, fmt.Sprintf(format, args...))
		}
		switch p := abi.PermissionKind(kind); p {
		case abi.PermLog, abi.PermClock, abi.PermRandom:
			if has {
				return nil, wrong("%s takes no value", kind)
			}
			switch p {
			case abi.PermLog:
				opts = append(opts, isomer.AllowLog(moduleLog(std.err, asJSON)))
			case abi.PermClock:
				opts = append(opts, isomer.AllowClock())
			case abi.PermRandom:
				opts = append(opts, isomer.AllowRandom())
			}
		case abi.PermKV:
			if arg == "" {
				return nil, wrong("want kv=DIR, a folder for what modules keep")
			}
			store, err := isomer.NewDirStore(arg)
			if err != nil {
				return nil, err
			}
			opts = append(opts, isomer.AllowKV(store))
		case abi.PermHTTP, abi.PermPublish:
			perm, err := abi.ParsePermission(kind + ":" + arg)
			if err != nil {
				return nil, wrong("%v", cause(err))
			}
			if p == abi.PermHTTP {
				opts = append(opts, isomer.AllowHTTP(perm.Arg))
			} else {
				opts = append(opts, isomer.AllowPublish(&printer{w: std.out}, perm.Arg))
			}
		case abi.PermRead:
			guest, dir, _ := strings.Cut(arg, "=")
			if guest == "" || dir == "" {
				return nil, wrong("want read=/PATH=DIR: the folder DIR, which the module sees as /PATH")
			}
			if err := abi.CheckGuestPath(guest); err != nil {
				return nil, wrong("%v", err)
			}
			opts = append(opts, isomer.AllowRead(guest, dir))
		default:
			return nil, wrong("want %s", allowForms)
		}
	}
	return opts, nil
}

// cause leaves out which permission an error is about, where the command line has it already.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// moduleLog writes what modules log.
func moduleLog(w io.Writer, asJSON bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelDebug}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// printer prints what modules publish.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *printer) Publish(_ context.Context, subject string, payload []byte) error {
	line := struct {
		Publish string `json:"publish"`
		Payload any    `json:"payload"`
	}{subject, json.RawMessage(payload)}
	if !json.Valid(payload) {
		line.Payload = map[string][]byte{"base64": payload}
	}
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = p.w.Write(append(b, '\n'))
	return err
}

// permissionHint says how the command's user grants what a refused module wants; false for other errors.
func permissionHint(err error) (string, bool) {
	denied, ok := errors.AsType[*isomer.PermissionError](err)
	if !ok {
		return "", false
	}
	var flags []string
	for _, m := range denied.Missing {
		if m.Undeclared {
			return "the module's manifest does not list what the module uses: it has to be built again", true
		}
		flags = append(flags, m.Flag())
	}
	return "if you trust the module with that, add " + strings.Join(flags, " "), true
}
