package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/isomer-iot/isomer"
)

// ErrAnswer is what errors about a module's answer unwrap to.
var ErrAnswer = errors.New("meter: bad answer of the module")

// Caller is what a Reader needs of a module; *isomer.Module has it.
type Caller interface {
	// CallImage passes one picture to the function and returns its JSON,
	// {"top":[{"index":7,"label":"7","probability":0.99},…]}, best class first.
	CallImage(ctx context.Context, function string, img isomer.Image) ([]byte, error)
}

// Reader reads a whole counter: one call of the module for each drum.
type Reader struct {
	Module Caller
	// Function is called for each drum; empty: "classify".
	Function string
	// Regions are the drums, highest first.
	Regions []Region
	// Decimals is how many of the last drums stand behind the point.
	Decimals int
}

// Reading is what a Reader saw on one picture.
type Reading struct {
	// Digits has one digit a drum: "041794".
	Digits string `json:"digits"`
	// Value is Digits with its decimal point and without leading zeros: "417.94".
	Value string `json:"value"`
	// Probability is that of the least certain drum, 0 to 1.
	Probability float64 `json:"probability"`
}

// Read reads the counter on the picture. It stops at the first drum that fails; the error names it.
func (r *Reader) Read(ctx context.Context, picture isomer.Image) (Reading, error) {
	if len(r.Regions) == 0 {
		return Reading{}, fmt.Errorf("%w: the reader has no regions", ErrPicture)
	}
	if r.Decimals < 0 || r.Decimals > len(r.Regions) {
		return Reading{}, fmt.Errorf("%w: %d decimals on %d drums", ErrPicture, r.Decimals, len(r.Regions))
	}
	function := r.Function
	if function == "" {
		function = "classify"
	}
	digits := make([]byte, 0, len(r.Regions))
	lowest := 1.0
	for i, region := range r.Regions {
		crop, err := Crop(picture, region)
		if err != nil {
			return Reading{}, fmt.Errorf("drum %d: %w", i, err)
		}
		answer, err := r.Module.CallImage(ctx, function, crop)
		if err != nil {
			return Reading{}, fmt.Errorf("drum %d: %w", i, err)
		}
		digit, probability, err := best(answer)
		if err != nil {
			return Reading{}, fmt.Errorf("drum %d: %w", i, err)
		}
		digits = append(digits, digit)
		lowest = min(lowest, probability)
	}
	return Reading{Digits: string(digits), Value: value(string(digits), r.Decimals), Probability: lowest}, nil
}

// best is the first class of an answer.
func best(answer []byte) (digit byte, probability float64, err error) {
	var result struct {
		Top []struct {
			Label       string   `json:"label"`
			Probability *float64 `json:"probability"`
		} `json:"top"`
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if len(result.Top) == 0 {
		return 0, 0, fmt.Errorf("%w: no classes in %.80q", ErrAnswer, answer)
	}
	top := result.Top[0]
	if len(top.Label) != 1 || top.Label[0] < '0' || top.Label[0] > '9' {
		return 0, 0, fmt.Errorf("%w: label %.20q is not a digit", ErrAnswer, top.Label)
	}
	if top.Probability == nil || *top.Probability < 0 || *top.Probability > 1 {
		return 0, 0, fmt.Errorf("%w: no probability from 0 to 1 in %.80q", ErrAnswer, answer)
	}
	return top.Label[0], *top.Probability, nil
}

// value puts the point before the decimals and drops zeros that a person would not say.
func value(digits string, decimals int) string {
	point := len(digits) - decimals
	whole := strings.TrimLeft(digits[:point], "0")
	if whole == "" {
		whole = "0"
	}
	if decimals == 0 {
		return whole
	}
	return whole + "." + digits[point:]
}
