package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/isomer-iot/isomer/abi"
	"github.com/isomer-iot/isomer/wasm"
)

// permissionInfo is one thing that a host has to allow before it runs the module.
type permissionInfo struct {
	Permission string `json:"permission"`
	Allows     string `json:"allows"`
	Import     string `json:"import,omitempty"` // the first host function that needs it
}

// permissions says what the module asks for: by its manifest, and by what it imports. It finds modules that
// use what their manifest does not list.
func (in *inspection) permissions(m *wasm.Module) {
	add := func(p abi.Permission, by string) {
		in.Permissions = append(in.Permissions, permissionInfo{p.String(), p.Words(), by})
	}
	var declared []abi.Permission
	if in.Manifest != nil {
		for _, s := range in.Manifest.Permissions {
			if p, err := abi.ParsePermission(s); err == nil { // the manifest was validated
				declared = append(declared, p)
				add(p, "")
			}
		}
	}
	for _, i := range m.Imports {
		p, ok := abi.HostPermission(i.Module)
		if !ok {
			continue
		}
		name := i.Module + "." + i.Name
		known := false
		for k, d := range declared {
			if d.Kind == p.Kind {
				known = true
				if in.Permissions[k].Import == "" {
					in.Permissions[k].Import = name
				}
			}
		}
		if known || slices.ContainsFunc(in.Permissions, func(have permissionInfo) bool { return have.Permission == p.String() }) {
			continue
		}
		add(p, name)
		if in.Manifest != nil {
			in.Problems = append(in.Problems, fmt.Sprintf("the module imports %s, and its manifest does not list the permission %s: a host refuses it", name, p.Kind))
		}
	}
}

func (in *inspection) printPermissions(w io.Writer) error {
	if len(in.Permissions) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w)
	t.row("PERMISSION", "LETS THE MODULE", "IMPORT")
	for _, p := range in.Permissions {
		t.row(p.Permission, p.Allows, p.Import)
	}
	return t.flush()
}
