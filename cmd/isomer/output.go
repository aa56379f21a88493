package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"unicode/utf8"
)

// writeJSON writes one indented JSON document.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table aligns rows of cells.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		io.WriteString(t.w, plain(fmt.Sprint(c)))
	}
	fmt.Fprintln(t.w)
}

func (t table) flush() error { return t.w.Flush() }

// plain is text with escapes, as Go has them, for all that a terminal would obey or hide: names come out of
// models and modules, which are anyone's.
func plain(s string) string {
	var b []byte
	for at, width := 0, 0; at < len(s); at += width {
		var r rune
		r, width = utf8.DecodeRuneInString(s[at:])
		if strconv.IsPrint(r) && (r != utf8.RuneError || width > 1) {
			b = append(b, s[at:at+width]...)
			continue
		}
		q := strconv.Quote(s[at : at+width])
		b = append(b, q[1:len(q)-1]...)
	}
	return string(b)
}

// size writes a number of bytes the way people read it: exact below 10 kB.
func size[N int | int64 | uint64](n N) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
}

// plural is "1 page", "2 pages".
func plural[N int | int64 | uint32](n N, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// count writes a large number with its digits in groups: 3 504 872.
func count[N int | int64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
