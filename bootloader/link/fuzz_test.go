package link

import (
	"errors"
	"testing"
	"time"

	"github.com/otapack/otapack/formats/chunk"
)

// FuzzRun: on whatever link, with whatever loss and device, a run breaks no word,
// and fails for no other reason than that it was given up. In one of five, the
// CRC finds no damage at all.
func FuzzRun(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := random(seed)
		share := func(most float64) float64 {
			if r.below(2) == 0 {
				return 0
			}
			return most * float64(r.below(1000)) / 1000
		}
		mean := func() time.Duration {
			if r.below(2) == 0 {
				return 0
			}
			return time.Duration(50+r.below(20000)) * time.Millisecond
		}
		loss := Loss{share(0.3), share(0.5), share(0.5), share(0.2), mean(), mean(), mean()}
		l, err := BLE(23+r.below(225), time.Duration(8+r.below(100))*time.Millisecond, 1+r.below(8))
		if r.below(4) == 0 {
			l, err = UART(9600 + r.below(200000))
		}
		if err != nil {
			t.Fatal(err)
		}
		l.Window = 1 + r.below(64)
		size := 1 + r.below(20000)
		s, err := New(object(size), l, loss, Device{Capacity: int64(size), Checkpoint: 64 << r.below(7)})
		if err != nil {
			t.Fatal(err)
		}
		s.forge = r.below(5) == 0
		result, err := s.Run(t.Context(), r.next())
		if err != nil || result.Err != nil && !errors.Is(result.Err, ErrLimit) && !(s.forge && errors.Is(result.Err, chunk.ErrRefused)) {
			t.Errorf("%+v, %+v, forged %v: %v, %v", l, loss, s.forge, err, result.Err)
		}
	})
}
