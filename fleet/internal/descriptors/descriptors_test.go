package descriptors

import "testing"

func TestShares(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int][2]int{
		64: {16, 16}, 1024: {659, 109}, 4096: {3072, 512}, 20_000: {15_000, 2_500}, 131_072: {98_304, 16_384}, Unknown: {786_432, 131_072},
	} {
		clients, api := Shares(limit)
		if clients != want[0] || api != want[1] {
			t.Errorf("of %d: %d clients and %d of the API, want %v", limit, clients, api, want)
		}
		if limit >= 1024 && clients+api+256 > limit {
			t.Errorf("of %d: %d and %d leave nothing", limit, clients, api)
		}
	}
	if Limit() < 16 {
		t.Errorf("limit %d", Limit())
	}
}
