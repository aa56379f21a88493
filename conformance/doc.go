// Package conformance holds the tests that see the whole project at once: the layering of its packages,
// ONNX case lists, cross-engine and end-to-end runs. Use it to check a change, never to build on: it
// imports all the other packages and nothing may import it. It has no API, so it promises none.
package conformance
