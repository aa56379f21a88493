package onnx

import (
	"bytes"
	"unicode/utf8"
)

// magics are first bytes that people hand over by mistake, most telling first.
var magics = []struct {
	at    int
	bytes string
	name  string
}{
	{0, "\x89PNG\r\n\x1a\n", "a PNG picture"},
	{0, "\xff\xd8\xff", "a JPEG picture"},
	{0, "GIF8", "a GIF picture"},
	{0, "\x00asm", "a WebAssembly module"},
	{0, "\x7fELF", "an ELF executable"},
	{0, "PK\x03\x04", "a zip archive (PyTorch and Keras save models so: export to ONNX first)"},
	{0, "\x1f\x8b", "a gzip archive (unpack it first)"},
	{0, "\x89HDF\r\n\x1a\n", "an HDF5 file (Keras saves models so: export to ONNX first)"},
	{4, "TFL3", "a TensorFlow Lite model"}, // where a tensor is read; models are known before
	{4, "ORTM", "an ONNX Runtime .ort model (use the .onnx file it was made from)"},
	{0, "GGUF", "a GGUF model"},
	{0, "\x93NUMPY", "a NumPy array"},
	{8, "{\"", "a safetensors file"},
	{0, "version https://git-lfs", "a Git LFS pointer (fetch the file with git lfs pull)"},
	{0, "<!DOCTYPE", "an HTML page"},
	{0, "<html", "an HTML page"},
	{0, "\x80\x02", "a Python pickle"},
	{0, "\x80\x04", "a Python pickle"},
}

// looksLike names the format of bytes that are not an ONNX model, or returns "".
func looksLike(b []byte) string {
	for _, m := range magics {
		if len(b) > m.at && bytes.HasPrefix(b[m.at:], []byte(m.bytes)) {
			return m.name
		}
	}
	head := b[:min(len(b), 512)]
	for i := 0; i < len(head); {
		r, n := utf8.DecodeRune(head[i:])
		if r == utf8.RuneError && n <= 1 && i < len(head)-utf8.UTFMax || r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return ""
		}
		i += max(n, 1)
	}
	return "text"
}
