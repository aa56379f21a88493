// Package abi is the contract between a module and the host that runs it: export names, the byte
// layouts of the canonical ABI that modules use, tensor element types, and the manifest section.
//
// Use abi to write a host or a tool that makes modules; never to call a module, for which package
// isomer (github.com/isomer-iot/isomer) exists. The contract for hosts in other languages is
// docs/abi.md; the two change together.
//
// Compatibility: v0, the Go API may change until 1.0. The manifest carries its own version number
// (FormatVersion), and a reader refuses numbers that it does not know.
package abi

import "strconv"

// FormatVersion is the manifest format that this package reads and writes: the value of its
// "isomer" field.
const FormatVersion = 1

// ManifestSection is the name of the custom section that holds the manifest.
const ManifestSection = "isomer.manifest"

// PageSize is the size of a WebAssembly memory page in bytes. wasm.PageSize is the same: neither package
// imports the other, so that a tool can have one without the other.
const PageSize = 65536

// Names that a module exports. Only the functions that it wants to be called are required.
const (
	// ExportMemory is the linear memory that host and guest share.
	ExportMemory = "memory"
	// ExportRealloc allocates guest memory: func(oldPtr, oldLen, align, newLen i32) i32.
	ExportRealloc = "cabi_realloc"
	// ExportPostPrefix before a function's name is that function's clean-up: func(retptr i32).
	ExportPostPrefix = "cabi_post_"
	// ExportRun computes the output tensors from the input tensors: func().
	ExportRun = "run"
	// ExportInitialize sets up a WASI reactor; the host calls it once, before anything else: func().
	ExportInitialize = "_initialize"
	// ExportStart is the main function of a WASI command: func(). Only the command convention calls it.
	ExportStart = "_start"
	// ExportSave returns the state to be carried to the next generation: func() -> list<u8>.
	ExportSave = "isomer_save"
	// ExportRestore accepts the state that ExportSave returned: func(list<u8>).
	ExportRestore = "isomer_restore"
)

// InputGlobal is the name of the global that holds the address of input tensor i.
func InputGlobal(i int) string { return "input_" + strconv.Itoa(i) }

// OutputGlobal is the name of the global that holds the address of output tensor i.
func OutputGlobal(i int) string { return "output_" + strconv.Itoa(i) }

// PostReturn is the name of the clean-up export of function fn.
func PostReturn(fn string) string { return ExportPostPrefix + fn }

// Convention says how a function's arguments and results cross the border.
type Convention string

// The conventions. docs/abi.md gives each one's signature and byte layout.
const (
	// Bytes is func(input: list<u8>) -> result<list<u8>, string> of the canonical ABI.
	Bytes Convention = "bytes"
	// Image is func(image: record{width, height: u32, rgb: list<u8>}) -> result<list<u8>, string>.
	Image Convention = "image"
	// Tensors is run() over memory at the addresses in input_N and output_N.
	Tensors Convention = "tensors"
	// Scalar is a function of i32, i64, f32, f64 values, called as it is.
	Scalar Convention = "scalar"
	// Wasmtube is fn(index, length i32) -> length i32 with input and output at index.
	Wasmtube Convention = "wasmtube"
	// WasmtubeImage is fn(index, length, width, height i32) -> length i32: RGB in, bytes out.
	WasmtubeImage Convention = "wasmtube-image"
	// Command is _start() of a WASI program: standard input in, standard output out, once an instance.
	Command Convention = "command"
)

// Valid reports whether c is one of the conventions above.
func (c Convention) Valid() bool {
	switch c {
	case Bytes, Image, Tensors, Scalar, Wasmtube, WasmtubeImage, Command:
		return true
	}
	return false
}

// Encoding says what the bytes of an input or output mean.
type Encoding string

// The encodings.
const (
	JSON     Encoding = "json"
	CBOR     Encoding = "cbor"
	Raw      Encoding = "raw"
	ImageRGB Encoding = "image"
)

// Valid reports whether e is one of the encodings above.
func (e Encoding) Valid() bool {
	switch e {
	case JSON, CBOR, Raw, ImageRGB:
		return true
	}
	return false
}
