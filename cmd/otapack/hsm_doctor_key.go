package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/internal/release"
	"github.com/otapack/otapack/sign"
)

// checkKeys makes three checks of each key: the private half on the token, the
// pinned file, a trial signature.
func (d *doctor) checkKeys(login string, token *hsm.Token, keys []config.Key) {
	var all []hsm.KeyInfo
	var listErr error
	if d.passed(login) && len(keys) > 0 {
		all, listErr = token.Keys(d.ctx)
	}
	for _, k := range keys {
		pinned, pinnedErr := readPinned(d.cfg, k)
		if pinnedErr != nil {
			pinned = sign.PublicKey{}
		}
		var uri hsm.URI
		var info hsm.KeyInfo
		d.run("key."+k.Name, func() (f finding) {
			if listErr != nil {
				return failing(listErr, "check the device and its service")
			}
			f, uri, info = d.findKey(k, all, pinned)
			return f
		}, login)
		d.run("pinned."+k.Name, func() finding {
			switch {
			case d.passed("key." + k.Name):
				return d.checkPinned(k, all, info, pinned, pinnedErr)
			case pinnedErr != nil:
				return failing(pinnedErr, "mend what is above first; then "+exportCommand(d.cfg, k)+", unless otapack key create has written it")
			}
			return skipping("needs key " + k.Name)
		})
		d.run("signature."+k.Name, func() finding {
			public := pinned
			if pinned.IsZero() || !info.Public.IsZero() && !info.Public.Equal(pinned) {
				public = info.Public // what the token signs with is of interest all the same
			}
			return d.trySign(token, uri, public)
		}, "key."+k.Name)
	}
}

// readPinned reads the public half that the project file pins.
func readPinned(cfg *config.Config, k config.Key) (sign.PublicKey, error) {
	data, err := readInput(cfg.Resolve(k.Public), maxIdentity)
	if err != nil {
		return sign.PublicKey{}, err
	}
	public, err := sign.ParsePublicKey(data)
	if err != nil {
		return sign.PublicKey{}, &release.InputError{Path: k.Public, Err: err}
	}
	return public, nil
}

// keyLine is how the project file would name a key.
func keyLine(k hsm.KeyInfo, pinned sign.PublicKey) string {
	line := configLine(hsm.URI{Object: k.Label, ID: k.ID})
	if !pinned.IsZero() && k.Public.Equal(pinned) {
		line += "   # its public half is the pinned one"
	}
	return line
}

// findKey looks for the only key that the URI names. A URI without a name
// selects by the pinned public half, as signing does.
func (d *doctor) findKey(k config.Key, all []hsm.KeyInfo, pinned sign.PublicKey) (finding, hsm.URI, hsm.KeyInfo) {
	uri, err := hsm.ParseURI(k.URI)
	if err != nil {
		return failing(err, "correct keys."+k.Name+".uri in "+d.configPath), uri, hsm.KeyInfo{}
	}
	var matching []hsm.KeyInfo
	var here, candidates []string
	for _, info := range all {
		line := keyLine(info, pinned)
		here = append(here, line)
		unknown := pinned.IsZero() || info.Public.IsZero()
		if selects(uri, pinned, info) || isNameless(uri) && unknown {
			matching, candidates = append(matching, info), append(candidates, line)
		}
	}
	const most = 10
	here, candidates = here[:min(len(here), most)], candidates[:min(len(candidates), most)]
	what := hsm.URI{Object: uri.Object, ID: uri.ID}.String()
	switch {
	case len(matching) == 0:
		set := "set keys." + k.Name + " in " + d.configPath + " to "
		var fix []string
		for _, info := range all {
			if !pinned.IsZero() && info.Public.Equal(pinned) {
				fix = append(fix, set+"the key with the pinned public half:", keyLine(info, pinned))
			}
		}
		switch {
		case len(fix) > 0:
			here = nil
		case pinned.IsZero():
			fix = []string{"make the key and its public file: otapack key create " + k.Name}
		default:
			fix = []string{"the key with the pinned public half " + k.Public + " is not on this token: name the token that has it"}
		}
		if len(here) > 0 {
			fix = append(fix, "or "+set+"one of this token:")
		}
		return failing(fmt.Errorf("%s: %w", what, hsm.ErrKeyNotFound), append(fix, here...)...), uri, hsm.KeyInfo{}
	case len(matching) > 1:
		fix := append([]string{"name one of them with its id in keys." + k.Name + " of " + d.configPath + ":"}, candidates...)
		return failing(fmt.Errorf("%s: %w: %d keys", what, hsm.ErrKeyAmbiguous, len(matching)),
			append(fix, "if the ids are equal too, have the wrong one removed: pkcs11-tool --delete-object")...), uri, hsm.KeyInfo{}
	}
	info := matching[0]
	return fitness(k, info), uri, info
}

// fitness judges what the module says about a key. What it does not say is not
// held against the key.
func fitness(k config.Key, info hsm.KeyInfo) finding {
	a := info.Attributes
	text := []string{info.Curve}
	say := func(s hsm.State, yes, no, unknown string) {
		if t := map[hsm.State]string{hsm.Yes: yes, hsm.No: no, hsm.Unknown: unknown}[s]; t != "" {
			text = append(text, t)
		}
	}
	say(a.Extractable, "extractable", "not extractable", "extractable or not: the module does not say")
	say(a.Sensitive, "", "its value can be read", "")
	uses := []string{"sign"}
	for _, use := range []struct {
		state hsm.State
		name  string
	}{{a.Decrypt, "decrypt"}, {a.Unwrap, "unwrap"}, {a.Derive, "derive"}} {
		if use.state == hsm.Yes {
			uses = append(uses, use.name)
		}
	}
	if len(uses) == 1 {
		text = append(text, "sign only")
	} else {
		text = append(text, "may "+strings.Join(uses, ", "))
	}
	imported := a.Local == hsm.No && a.NeverExtractable == hsm.No // some modules deny CKA_LOCAL of what they have made
	if imported {
		text = append(text, "not generated in this token")
	}
	say(a.AlwaysAuthenticate, "wants the PIN for every signature", "", "")
	detail := strings.Join(text, ", ")
	replace := "make a key that cannot leave the token: otapack key create, under a new alias, and have devices trust it"
	switch {
	case !info.Algorithm.Valid():
		return failing(fmt.Errorf("%w: curve %s", hsm.ErrKeyUnfit, info.Curve), "otapack signs with P-256 and P-384: name such a key, or make one: otapack key create "+k.Name)
	case a.Sign == hsm.No:
		return failing(fmt.Errorf("%w: CKA_SIGN is false", hsm.ErrKeyUnfit), "name a key that is made for signing, or make one: otapack key create "+k.Name)
	case a.Extractable == hsm.Yes, a.Sensitive == hsm.No:
		return warning(detail, replace)
	case imported:
		return warning(detail+": a copy may exist elsewhere", replace)
	}
	return found("%s", detail)
}

// exportCommand writes the pinned file from the token.
func exportCommand(cfg *config.Config, k config.Key) string {
	return fmt.Sprintf("otapack key export %s --from-token -o '%s'", k.Name, cfg.Resolve(k.Public))
}

// checkPinned compares the pinned file with the token's public half.
func (d *doctor) checkPinned(k config.Key, all []hsm.KeyInfo, info hsm.KeyInfo, pinned sign.PublicKey, err error) finding {
	export := exportCommand(d.cfg, k)
	switch {
	case errors.Is(err, fs.ErrNotExist) && info.Public.IsZero():
		return failing(err, "the token has no public half to make it from: take "+k.Public+" from where the key was made")
	case errors.Is(err, fs.ErrNotExist):
		return failing(err, export, "but take it from version control if it was ever there: devices trust that one")
	case err != nil:
		return failing(err, "the file has to hold a public key (PEM or DER); restore it from version control", "if there is none, move it away and write it anew: "+export)
	case info.Public.IsZero():
		return found("the token has no public half of this key; the trial signature is verified with %s", k.Public)
	case info.Public.Equal(pinned):
		return found("%s, the same as on the token: %s", k.Public, pinned.ID().Short())
	}
	fix := []string{"find out why they differ before anything else: devices trust the pinned key, and take nothing signed with another"}
	for _, other := range all {
		if other.Public.Equal(pinned) {
			fix = append(fix, "the pinned key is on this token too: set keys."+k.Name+" in "+d.configPath+" to", keyLine(other, pinned))
		}
	}
	fix = append(fix, "if the token's key is the right one: move "+k.Public+" away, then "+export)
	return failing(fmt.Errorf("%w: %s is %s, the token has %s", sign.ErrKeyMismatch, k.Public, pinned.ID().Short(), info.Public.ID().Short()), fix...)
}

// trySign makes and verifies one signature, and says how long that took.
func (d *doctor) trySign(token *hsm.Token, uri hsm.URI, public sign.PublicKey) finding {
	if public.IsZero() {
		return skipping("no public half to verify it with")
	}
	signer, err := token.Signer(d.ctx, uri, public)
	if err == nil {
		start := time.Now()
		if err = hsm.TrySign(d.ctx, signer); err == nil {
			return found("made over a text that authorises nothing, and verified: %.1f ms", float64(time.Since(start).Microseconds())/1000)
		}
	}
	code, _ := classify(err)
	return failing(err, cmp.Or(hints[code], "check the device and its service; the vendor explains the code"))
}
