package provision

import (
	"context"
	"crypto/subtle"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/otapack/otapack/internal/atomicfile"
	"github.com/otapack/otapack/sign/verdict"
)

// Rederive derives the secret of a record once more and compares. It returns
// false for a secret that is random: nobody can make that again. Another secret is a verdict.Error with the reason
// provision-differs.
func Rederive(ctx context.Context, m Maker, h Header, r Record) (bool, error) {
	if r.Kind != Derive {
		return false, nil
	}
	again, err := h.newRecord(ctx, m, r.Serial, Secret{r.Component, r.Purpose, r.Kind, len(r.Wrapped) - wrapOverhead})
	switch {
	case err != nil:
		return false, err
	case subtle.ConstantTimeCompare(again.KCV, r.KCV) != 1:
		return false, verdict.New(verdict.ProvisionDiffers, "records: device "+r.Serial, "%s %s: check value %x, the token derives %x", r.Component, r.Purpose, []byte(r.KCV), []byte(again.KCV))
	case subtle.ConstantTimeCompare(again.Wrapped, r.Wrapped) != 1:
		return false, verdict.New(verdict.ProvisionDiffers, "records: device "+r.Serial, "%s %s: it is not wrapped under the transport key of the token", r.Component, r.Purpose)
	}
	return true, nil
}

// CheckKeys compares what SelfTest found with the header. Other keys are a
// verdict.Error with the reason provision-differs.
func (h Header) CheckKeys(c Check) error {
	if !h.Check.equal(c) {
		return verdict.New(verdict.ProvisionDiffers, "records: line 1", "made with another transport key or master key than the token has")
	}
	return nil
}

// keysAtOnce is how many files are open at once, at most.
const keysAtOnce = 64

// WritePublicKeys writes the public halves of all recipients in a complete file
// into a folder, as <serial>.<component>.<purpose>.pub.pem, and returns how many
// there are. A file that has the right bytes already is left alone; one that has
// others wraps atomicfile.ErrExists.
func WritePublicKeys(dir string, in io.Reader) (n int, err error) {
	r, err := NewReader(in)
	if err != nil {
		return 0, err
	}
	set, staged := atomicfile.NewSet(dir), 0
	defer func() { err = errors.Join(err, set.Abort()) }()
	for {
		rec, err := r.Next()
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return n, err
		}
		if !last && rec.Kind == Recipient {
			text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: rec.PublicKey})
			if err := set.Write(fmt.Sprintf("%s.%s.%s.pub.pem", rec.Serial, rec.Component, rec.Purpose), text); err != nil {
				return n, err
			}
			staged++
		}
		if staged == keysAtOnce || last {
			if err := set.Commit(); err != nil {
				return n, err
			}
			n, staged, set = n+staged, 0, atomicfile.NewSet(dir)
		}
		if last {
			return n, nil
		}
	}
}
