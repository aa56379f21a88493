// A module with everything that a module can do: bytes, pictures, state, and what the host lends.
package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	guest "github.com/isomer-iot/isomer/guest/go"
)

//go:wasmexport count
func exportCount(ptr, n uint32) uint32 { return guest.Answer(ptr, n, count) }

//go:wasmexport brightness
func exportBrightness(width, height, ptr, n uint32) uint32 {
	return guest.AnswerImage(width, height, ptr, n, brightness)
}

//go:wasmexport ask
func exportAsk(ptr, n uint32) uint32 { return guest.Answer(ptr, n, ask) }

//go:wasmexport isomer_save
func exportSave() uint32 { return guest.Save(binary.LittleEndian.AppendUint64(nil, total)) }

//go:wasmexport isomer_restore
func exportRestore(ptr, n uint32) { guest.Restore(ptr, n, restore) }

// total is what the next version takes over: 8 bytes, little-endian, in each language.
var total uint64

func restore(state []byte) error {
	if len(state) != 8 {
		return errors.New("the state of another module")
	}
	total = binary.LittleEndian.Uint64(state)
	return nil
}

func count(input []byte) ([]byte, error) {
	total += uint64(len(input))
	return strconv.AppendUint(nil, total, 10), nil
}

func brightness(p guest.Image) ([]byte, error) {
	if len(p.RGB) == 0 {
		return nil, errors.New("no picture")
	}
	var sum uint64
	for _, b := range p.RGB {
		sum += uint64(b)
	}
	return fmt.Appendf(nil, `{"mean":%d}`, sum/uint64(len(p.RGB))), nil
}

func ask(input []byte) ([]byte, error) {
	words := strings.SplitN(string(input), "\n", 4)
	word := func(k int) string {
		if k < len(words) {
			return words[k]
		}
		return ""
	}
	number, _ := strconv.Atoi(word(1))
	switch words[0] {
	case "stderr":
		guest.Logf("%s", word(1))
	case "log":
		guest.Log(guest.Level(number), word(2))
	case "now":
		return strconv.AppendInt(nil, guest.Now().UnixNano(), 10), nil
	case "monotonic":
		return strconv.AppendInt(nil, int64(guest.Monotonic()), 10), nil
	case "random":
		return []byte(hex.EncodeToString(guest.Random(number))), nil
	case "get":
		value, ok, err := guest.KVGet(word(1))
		if err != nil {
			return nil, err
		} else if !ok {
			return []byte("none"), nil
		}
		return append([]byte("value "), value...), nil
	case "set":
		return done(guest.KVSet(word(1), []byte(word(2))))
	case "delete":
		return done(guest.KVDelete(word(1)))
	case "keys":
		keys, err := guest.KVKeys(word(1))
		return []byte(strings.Join(keys, ",")), err
	case "fetch":
		return fetch(word(1), word(2), word(3))
	case "publish":
		return done(guest.Publish(word(1), []byte(word(2))))
	default:
		return nil, errors.New("no request " + words[0])
	}
	return done(nil)
}

// fetch answers the status, what the server says about its answer in x-station, and the answer.
func fetch(method, url, body string) ([]byte, error) {
	r, err := guest.Fetch(guest.Request{
		Method: method, URL: url, Body: []byte(body), Headers: []guest.Header{{Name: "x-station", Value: "seven"}},
	})
	if err != nil {
		return nil, err
	}
	says := ""
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "x-station") {
			says = h.Value
		}
	}
	return fmt.Appendf(nil, "%d %s %s", r.Status, says, r.Body), nil
}

func done(err error) ([]byte, error) { return []byte("ok"), err }

func main() {}
