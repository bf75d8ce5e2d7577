package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
)

// checkToken goes from a token's name in the project file to its keys.
func (d *doctor) checkToken(t config.Token) {
	id := func(what string) string { return what + "." + t.Name }
	uri, uriErr := hsm.ParseURI(t.URI)
	var info hsm.TokenInfo
	d.run(id("token"), func() (f finding) {
		f, info = d.findToken(t, uri, uriErr)
		return f
	}, "tokens")
	d.run(id("pin"), func() finding { return d.checkPIN(t, uri, info) })
	d.run(id("tries"), func() finding { return d.checkTries(info) }, id("token"))
	var token *hsm.Token
	d.run(id("login"), func() (f finding) {
		f, token = d.logIn(t, uri, info)
		return f
	}, id("token"), id("pin"), id("tries"))
	d.run(id("sessions"), func() finding { return d.checkSessions(token) }, id("login"))
	var keys []config.Key
	for _, k := range d.cfg.Keys {
		if k.Token == t.Name {
			keys = append(keys, k)
		}
	}
	d.run(id("mechanisms"), func() finding { return d.checkMechanisms(token, keys) }, id("login"))
	d.checkKeys(id("login"), token, keys)
}

// findToken looks for the only token of a URI, without a login.
func (d *doctor) findToken(t config.Token, uri hsm.URI, err error) (finding, hsm.TokenInfo) {
	var candidates []string
	for _, s := range d.slots {
		if s.Initialized {
			candidates = append(candidates, configLine(s.Token.URI()))
		}
	}
	choose := append([]string{"set hsm.tokens." + t.Name + " in " + d.configPath + " to one of these, each of which is on the module:"}, candidates...)
	if err != nil {
		return failing(err, choose...), hsm.TokenInfo{}
	}
	token, err := hsm.Open(d.ctx, hsm.Options{Module: d.module, Token: uri})
	switch {
	case errors.Is(err, hsm.ErrTokenAmbiguous):
		return failing(err, append(choose, "if the serials are equal too, take one of the tokens away")...), hsm.TokenInfo{}
	case errors.Is(err, hsm.ErrTokenNotFound), errors.Is(err, hsm.ErrURI):
		return failing(err, choose...), hsm.TokenInfo{}
	case errors.Is(err, hsm.ErrSessions):
		return failing(err, "other programs hold all sessions of the token: end them, or wait"), hsm.TokenInfo{}
	case err != nil:
		return failing(err, "the token opens no read-only session: check the device and its service; AWS CloudHSM takes such sessions from SDK 5.5 on"), hsm.TokenInfo{}
	}
	info := token.Info()
	if err := token.Close(); err != nil {
		return warning(fmt.Sprintf("%s, but the module does not let go of it: %v", tokenText(info), err), "look into the log of the module"), info
	}
	if clock, ok := tokenTime(info); ok {
		d.ahead[t.Name] = time.Until(clock)
	}
	return found("%s, 1 match", tokenText(info)), info
}

func tokenText(i hsm.TokenInfo) string {
	return fmt.Sprintf("%s, serial %s, %s, firmware %s", tokenName(i), orDash(i.Serial), i.Model, i.Firmware)
}

// checkPIN looks at where the PIN would come from, without reading it: it may
// be a pipe that can be read once.
func (d *doctor) checkPIN(t config.Token, uri hsm.URI, info hsm.TokenInfo) finding {
	origin := d.pinOrigin(d.cfg, t, uri)
	write := "write the PIN alone into it: install -m 600 /dev/stdin '" + origin.file + "', then type the PIN, Enter and Ctrl-D"
	unusable := func(err error) error { return fmt.Errorf("%w, from %s: %w", hsm.ErrPINFile, origin.name, err) }
	switch {
	case info != (hsm.TokenInfo{}) && !info.LoginRequired:
		return found("the token wants no login")
	case origin.variable != "":
		return found("the variable %s, which other processes of this user can read: a file is better", origin.name)
	case origin.file == "" && info.PINPad:
		return found("the token's own PIN pad")
	case origin.file == "" && info == (hsm.TokenInfo{}):
		return skipping("none is named; whether the token has a PIN pad is not known")
	case origin.file == "" && d.noInput:
		return failing(fmt.Errorf("%w, none is named and --no-input rules out asking for it", hsm.ErrPINRequired), hints["pin-required"])
	case origin.file == "" && !hasTerminal():
		return failing(fmt.Errorf("%w, none is named and there is no terminal to ask at", hsm.ErrPINRequired), hints["pin-required"])
	case origin.file == "":
		return found("a prompt on the terminal")
	}
	file, err := os.Stat(origin.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failing(unusable(err), write, "or name another source: otapack help pin")
	case err != nil:
		return failing(unusable(err), fmt.Sprintf("let this user (uid %d) reach the file", os.Geteuid()))
	case file.IsDir():
		return failing(unusable(fmt.Errorf("%s is a folder", origin.file)), "name the file in it that holds the PIN")
	case !file.Mode().IsRegular():
		return found("%s, from %s: a pipe or device, read once for the login", origin.file, origin.name)
	}
	if f, err := os.Open(origin.file); err != nil {
		return failing(unusable(err), fmt.Sprintf("let this user (uid %d), and nobody else, read the file", os.Geteuid()))
	} else if err := f.Close(); err != nil {
		return failing(unusable(err))
	}
	mode := fmt.Sprintf("mode %04o", file.Mode().Perm())
	switch open := file.Mode().Perm()&0o044 != 0; {
	case open && !d.insecurePINFile:
		return failing(unusable(fmt.Errorf("%s: group or others may read it (%s)", origin.file, mode)), "chmod 600 '"+origin.file+"'", "and change the PIN if others could have read it")
	case file.Size() == 0:
		return failing(unusable(fmt.Errorf("%s: empty", origin.file)), write)
	case open:
		return warning(fmt.Sprintf("%s, from %s, %s: others may read it", origin.file, origin.name, mode), "chmod 600 '"+origin.file+"' and leave --insecure-pin-file out")
	}
	return found("%s, from %s, %s", origin.file, origin.name, mode)
}

// hasTerminal reports whether there is somebody to ask.
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// checkTries looks at what the token says about wrong PINs, before one is tried.
func (d *doctor) checkTries(info hsm.TokenInfo) finding {
	i := slices.IndexFunc(d.slots, func(s hsm.SlotInfo) bool { return s.Initialized && fullURI(s.Token).String() == fullURI(info).String() })
	switch {
	case !info.LoginRequired:
		return found("the token wants no login")
	case info.PINLocked:
		return failing(hsm.ErrPINLocked, hints["pin-locked"], "with the vendor's tool or pkcs11-tool --login --login-type so --init-pin; a TPM: tpm2_dictionarylockout --clear-lockout")
	case i >= 0 && !d.slots[i].PINInitialized:
		return failing(fmt.Errorf("%w: the token has no user PIN yet", hsm.ErrPINRequired), "the token's security officer has to set one, with the vendor's tool or pkcs11-tool --init-pin")
	case info.PINFinalTry && !d.allowFinalTry:
		return failing(hsm.ErrPINFinalTry, "no login is tried; "+hints["pin-final-try"])
	case info.PINFinalTry:
		return warning("one more wrong PIN locks the token, and --allow-final-try was given", "have the security officer reset the user PIN if this login fails")
	case info.PINCountLow:
		return warning("a wrong PIN was entered since the last login", "a login clears this; if it comes back, some other program has a wrong PIN")
	}
	return found("the token reports no wrong PIN")
}

// logIn makes the only attempt of this run on a token.
func (d *doctor) logIn(t config.Token, uri hsm.URI, info hsm.TokenInfo) (finding, *hsm.Token) {
	key := fullURI(info).String()
	if before, ok := d.tried[key]; ok {
		if before.token == nil {
			return skipping("the login as token " + before.alias + ", which is the same, has failed; no second PIN is tried"), nil
		}
		return found("logged in already as token %s, which is the same", before.alias), before.token
	}
	origin := d.pinOrigin(d.cfg, t, uri)
	o := hsm.Options{Module: d.module, Token: uri, AllowFinalTry: d.allowFinalTry, PIN: d.pinSource(d.cfg, t, uri)}
	token, err := hsm.Open(d.ctx, o)
	d.tried[key] = &attempt{t.Name, token}
	switch code, _ := classify(err); {
	case err == nil && !info.LoginRequired:
		return found("the token wants no login"), token
	case err == nil:
		return found("user PIN accepted"), token
	case errors.Is(err, hsm.ErrPINRejected):
		return failing(err,
			"the PIN from "+cmp.Or(origin.name, "the prompt")+" is not the user PIN of this token, or has a character too many: correct it before the next run",
			"it was tried once and is not tried again; tokens lock after a few failures"), nil
	default:
		return failing(err, cmp.Or(hints[code], "check the device and its service; the token's vendor explains the code")), nil
	}
}

func (d *doctor) checkSessions(token *hsm.Token) finding {
	opened, wanted, err := token.OpenSessions(d.ctx)
	limit := "the token names no limit"
	if n := token.Info().MaxSessions; n > 0 {
		limit = fmt.Sprintf("the token allows %d", n)
	}
	switch {
	case err != nil:
		return failing(err, "check the device and its service")
	case opened < wanted:
		return warning(fmt.Sprintf("%s, %d of %d opened", limit, opened, wanted), "other programs hold sessions; signing works and is slower")
	}
	return found("%s, %d opened at once", limit, opened)
}

// forProvisioning are wanted by the derivation and wrapping of device keys.
var forProvisioning = []string{"CKM_AES_KEY_GEN", "CKM_AES_ECB_ENCRYPT_DATA", "CKM_AES_KEY_WRAP"}

// checkMechanisms looks for what signing with the configured keys needs, and
// tells what else the token is good for.
func (d *doctor) checkMechanisms(token *hsm.Token, keys []config.Key) finding {
	mechanisms, err := token.Mechanisms(d.ctx)
	if err != nil {
		return failing(err, "check the device and its service")
	}
	byName := map[string]hsm.Mechanism{}
	for _, m := range mechanisms {
		byName[m.Name()] = m
	}
	bits := []uint{256}
	for _, k := range keys {
		if public, err := readPinned(d.cfg, k); err == nil && public.Algorithm() == sign.ESP384 {
			bits = append(bits, 384)
		}
	}
	ecdsa, ok := byName["CKM_ECDSA"]
	if !ok {
		return failing(fmt.Errorf("%w: CKM_ECDSA", hsm.ErrMechanism), "without it the token cannot sign for otapack: enable it in the token's policy, or use another token")
	}
	for _, n := range bits {
		if ecdsa.MaxKeySize > 0 && (n < ecdsa.MinKeySize || n > ecdsa.MaxKeySize) {
			return failing(fmt.Errorf("%w: CKM_ECDSA for keys of %d bits; it has %d to %d", hsm.ErrMechanism, n, ecdsa.MinKeySize, ecdsa.MaxKeySize), "use keys of another size, or another token")
		}
	}
	text := mechanismText(ecdsa)
	var lacks []string
	for _, name := range forProvisioning {
		if _, ok := byName[name]; !ok {
			lacks = append(lacks, name)
		}
	}
	provisioning := "; wrapping and derivation of device keys: all there"
	if len(lacks) > 0 {
		provisioning = "; wrapping and derivation of device keys: lacks " + strings.Join(lacks, ", ")
	}
	generate, ok := byName["CKM_EC_KEY_PAIR_GEN"]
	if !ok {
		return warning(text+", no CKM_EC_KEY_PAIR_GEN"+provisioning, "signing works; otapack key create does not: make keys with the vendor's tool")
	}
	return found("%s, %s%s", text, mechanismText(generate), provisioning)
}

func mechanismText(m hsm.Mechanism) string {
	if m.MaxKeySize == 0 { // the module lists it and says no more
		return m.Name()
	}
	return fmt.Sprintf("%s for %d to %d bits", m.Name(), m.MinKeySize, m.MaxKeySize)
}
