package wasm

import "reflect"

const nameSection = "name"

func parseNames(payload []byte) (*Names, bool) { return nil, false }

func (n *Names) equal(o *Names) bool { return reflect.DeepEqual(n, o) }
