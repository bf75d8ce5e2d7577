//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/otapack/otapack/internal/p11fault"
	"github.com/otapack/otapack/sign"
)

// perSecond reports what network HSMs are measured in.
func perSecond(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sig/s") }

// BenchmarkSign compares, with one session: the bare calls of miekg/pkcs11, what
// of ours goes to the token, and a whole signature, which is verified with the
// pinned key before it is handed out. They take turns, so that what else the
// machine does falls on all; medians make up for the rest.
func BenchmarkSign(b *testing.B) {
	useSoftHSM(b)
	makeToken(b, "lab")
	token := open(b, "lab")
	for _, a := range []sign.Algorithm{sign.ESP256, sign.ESP384} {
		key, err := token.Generate(b.Context(), KeySpec{Label: a.String(), Algorithm: a})
		if err != nil {
			b.Fatal(err)
		}
		s, err := token.Signer(b.Context(), key.URI, key.Public)
		if err != nil {
			b.Fatal(err)
		}
		digest := a.Digest([]byte("benchmark"))
		handle := handleOf(b, token, key)
		p, session := token.module.ctx, token.conn.idle[0]
		ways := []struct {
			unit string
			sign func() error
			took []time.Duration
		}{
			{unit: "miekg-sig/s", sign: func() error {
				if err := p.SignInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}, handle); err != nil {
					return err
				}
				_, err := p.Sign(session, digest)
				return err
			}},
			{unit: "token-sig/s", sign: func() error {
				_, err := s.(*signer).signRaw(b.Context(), digest)
				return err
			}},
			{unit: "verified-sig/s", sign: func() error {
				_, err := s.SignDigest(b.Context(), digest)
				return err
			}},
		}
		b.Run(a.String(), func(b *testing.B) {
			for b.Loop() {
				for i := range ways {
					start := time.Now()
					if err := ways[i].sign(); err != nil {
						b.Fatal(err)
					}
					ways[i].took = append(ways[i].took, time.Since(start))
				}
			}
			b.ReportMetric(0, "ns/op") // of all three
			median := func(i int) float64 {
				slices.Sort(ways[i].took)
				return ways[i].took[len(ways[i].took)/2].Seconds()
			}
			for i := range ways {
				b.ReportMetric(1/median(i), ways[i].unit)
			}
			b.ReportMetric(100*median(0)/median(1), "%-of-miekg")
		})
	}
}

// BenchmarkPool has 16 callers share a pool. Without latency the processors are
// the limit; with two milliseconds a call, as on a network, the sessions are.
func BenchmarkPool(b *testing.B) {
	f := newFaulty(b)
	digest := sign.ESP256.Digest([]byte("benchmark"))
	for _, latency := range []int{0, 2000} { // microseconds
		for _, pool := range []int{1, 2, 4, 8, 16} {
			b.Run(fmt.Sprintf("latency=%dus/sessions=%d", latency, pool), func(b *testing.B) {
				token, s := f.signer(b, fmt.Sprintf("C_SignInit~%d C_Sign~%d", latency, latency), sessions(pool))
				defer token.Close()
				var wg sync.WaitGroup
				var started atomic.Int64
				b.ResetTimer()
				for range 16 {
					wg.Go(func() {
						for started.Add(1) <= int64(b.N) {
							if _, err := s.SignDigest(b.Context(), digest); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				perSecond(b)
				if n := p11fault.Calls(b, "C_OpenSession"); n > pool {
					b.Errorf("%d sessions", n)
				}
			})
		}
	}
}

// BenchmarkOpen is what a process pays before its first signature: load,
// initialise, select, log in, find the key.
func BenchmarkOpen(b *testing.B) {
	useSoftHSM(b)
	makeToken(b, "lab")
	token := open(b, "lab")
	key := generate(b, token, "key")
	if err := token.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		token, err := openWith(b, "lab", pinIs(userPIN))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := token.Signer(b.Context(), key.URI, key.Public); err != nil {
			b.Fatal(err)
		}
		if err := token.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProcess compares a process that makes one signature with one that
// does nothing. They take turns; the times are medians.
func BenchmarkProcess(b *testing.B) {
	f := newFaulty(b)
	dir := b.TempDir()
	program, public, pin := filepath.Join(dir, "signonce"), filepath.Join(dir, "key.pub.pem"), filepath.Join(dir, "pin")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, "./testdata/signonce").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(os.WriteFile(public, f.key.Public.PEM(), 0o600), os.WriteFile(pin, []byte(userPIN), 0o600)); err != nil {
		b.Fatal(err)
	}
	var took [2][]time.Duration
	for b.Loop() {
		for i, args := range [][]string{nil, {modulePath(b), f.key.URI.String(), public, pin}} {
			start := time.Now()
			if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	b.ReportMetric(0, "ns/op") // of both
	for i, unit := range []string{"noop-ms", "signature-ms"} {
		slices.Sort(took[i])
		b.ReportMetric(took[i][len(took[i])/2].Seconds()*1000, unit)
	}
}
