package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
	"github.com/otapack/otapack/sign"
)

func (a *app) hsmDoctorCommand() *cobra.Command {
	var token string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that signing needs, and say how to mend it",
		Long: `Check what signing needs, in this order: the project file, the module, its
tokens, and for each token of the project its PIN, a login, sessions, mechanisms,
its keys and a trial signature with each of them.

Each line is ok, a warning, FAILED with what to do about it, or skipped when
something that it needs has failed. The PIN of a token is tried once at most, and
not at all when that could lock the token. What is signed for trial is a text
that authorises nothing. Nothing on a token is changed.

The exit code is that of the first failure.`,
		Example: `  otapack hsm doctor
  otapack hsm doctor --token release --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.hsmDoctor(cmd.Context(), token) },
	}
	c.Flags().StringVar(&token, "token", "", "check only the token with this `alias` (default: all)")
	return c
}

type doctorResult struct {
	Schema string  `json:"schema"`
	Checks []check `json:"checks"`
}

func (a *app) hsmDoctor(ctx context.Context, token string) error {
	cfg, loadErr := a.loadPart()
	tokens := cfg.HSM.Tokens
	if token != "" {
		t, ok := cfg.Token(token)
		if !ok {
			return cmp.Or(loadErr, usagef("%s has no token %q", cfg.File(), token))
		}
		tokens = []config.Token{t}
	}
	d := &doctor{app: a, cfg: cfg, ahead: map[string]time.Duration{}, tried: map[string]*attempt{}}
	d.report = report{ctx: ctx, print: func(check) {}}
	if !a.json {
		width := len("project-file")
		for _, t := range tokens {
			width = max(width, len("mechanisms ")+len(t.Name))
		}
		for _, k := range cfg.Keys {
			width = max(width, len("signature ")+len(k.Name))
		}
		if _, err := io.WriteString(a.stdout, check{ID: "CHECK", Status: "", Detail: "RESULT"}.text(width)); err != nil {
			return err
		}
		d.print = func(c check) { _, _ = io.WriteString(a.stdout, c.text(width)) } // the exit code tells without it
	}
	defer d.close()
	d.checkProject(loadErr)
	d.checkModule()
	for _, t := range tokens {
		d.checkToken(t)
	}
	d.run("clock", func() finding { return checkClock(time.Now(), d.ahead) })
	if err := d.end(); err != nil {
		return err
	}
	return a.result(doctorResult{"otapack.hsm-doctor/1", d.checks}, "")
}

// doctor is one run of hsm doctor.
type doctor struct {
	*app
	report

	cfg    *config.Config
	module string // absolute path
	info   hsm.ModuleInfo
	slots  []hsm.SlotInfo
	ahead  map[string]time.Duration // of the tokens' clocks, by alias

	tried map[string]*attempt // the one login per token, under whatever alias
}

// attempt is a login: who made it, and the token if it succeeded.
type attempt struct {
	alias string
	token *hsm.Token
}

// close lets go of the tokens. Everything was reported by then.
func (d *doctor) close() {
	for _, t := range d.tried {
		if t.token != nil {
			_ = t.token.Close()
		}
	}
}

func (d *doctor) checkProject(err error) {
	d.run("project-file", func() finding {
		switch {
		case errors.Is(err, errNoConfig):
			return failing(err, hintFor(err, ""))
		case errors.Is(err, fs.ErrPermission):
			return failing(err, fmt.Sprintf("let this user (uid %d) read %s", os.Geteuid(), d.configPath))
		case err != nil:
			return failing(err, "correct these lines; the file that otapack init writes shows all keys with comments", "the checks below go by what could be read")
		case len(d.cfg.HSM.Tokens) == 0:
			return failing(d.cfg.Errorf("hsm.tokens", "names no token"), "name the token that has the signing keys: hsm: {tokens: {release: {uri: \"pkcs11:token=<label>\"}}}; otapack hsm ls lists tokens")
		}
		signing := 0
		for _, k := range d.cfg.Keys {
			if k.Token != "" {
				signing++
			}
		}
		return found("%s: %s, %s", d.configPath, counted(len(d.cfg.HSM.Tokens), "token"), counted(signing, "signing key"))
	})
}

// counted is "1 key" or "2 keys".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkModule loads the module and asks for its tokens, once, and reports how
// far that came.
func (d *doctor) checkModule() {
	devToken := false
	d.run("module", func() finding {
		module, from, err := namedModule(d.cfg)
		if err == nil {
			devToken = os.Getenv(envSoftHSM) == ""
			err = useDevToken(d.cfg)
			devToken = devToken && os.Getenv(envSoftHSM) != ""
		}
		if err != nil {
			return failing(err, append([]string{hintFor(err, "")}, modulesHere()...)...)
		}
		d.module = module
		return found("%s, from %s", module, from)
	})
	d.run("module-file", func() finding { return checkModuleFile(d.module) }, "module")
	if isSoftHSM(d.module) {
		d.run("softhsm", func() finding { return checkSoftHSM(devToken) }, "module-file")
	}
	var err error
	d.run("module-load", func() finding {
		d.info, d.slots, err = hsm.Slots(d.ctx, d.module)
		switch {
		case errors.Is(err, hsm.ErrNoCgo):
			return failing(err, hints["no-pkcs11"])
		case errors.Is(err, hsm.ErrModule):
			return failing(err, "the loader's own reason is above; \"cannot open shared object file\" names a library to be installed", "ldd "+d.module+" lists all that are missing")
		}
		return found("the loader takes it")
	}, "module-file")
	answered := func(function, fix string, ok func() finding) func() finding {
		return func() finding {
			if failed, is := errors.AsType[hsm.CallError](err); is && failed.Function == function {
				return failing(err, fix)
			}
			return ok()
		}
	}
	fix := "the module does not find its own configuration, service or device: docs/hsm.md says for each vendor what it needs (CKR_ARGUMENTS_BAD: NSS has to be loaded through p11-kit-proxy.so)"
	if isSoftHSM(d.module) {
		fix = "SoftHSM says no more than that: mend what the line softhsm says; if that is ok, look into the system's log"
	}
	d.run("initialize", answered("C_Initialize", fix, func() finding { return found("C_Initialize answers CKR_OK") }), "module-load")
	d.run("module-info", answered("C_GetInfo", fix, func() finding {
		return found("%s, %s %s, Cryptoki %s", d.info.Manufacturer, d.info.Description, d.info.Version, d.info.Cryptoki)
	}), "initialize")
	d.run("tokens", answered("C_GetSlotList", fix, d.checkTokens), "module-info")
}

// modulesHere names modules that could be meant.
func modulesHere() []string {
	here := installedModules()
	if len(here) == 0 {
		return nil
	}
	return []string{"modules on this machine: " + strings.Join(here, ", ")}
}

func checkModuleFile(module string) finding {
	err := hsm.CheckModule(module)
	fix := "name the PKCS#11 module itself, a shared object of the HSM's vendor: hsm.module in otapack.yaml, or OTAPACK_PKCS11_MODULE, which wins"
	switch {
	case err == nil:
		return found("a shared object for %s with C_GetFunctionList", runtime.GOARCH)
	case errors.Is(err, fs.ErrNotExist):
		return failing(err, append([]string{"install the module, or correct its path in hsm.module of otapack.yaml, or in OTAPACK_PKCS11_MODULE, which wins"}, modulesHere()...)...)
	case errors.Is(err, fs.ErrPermission):
		return failing(err, fmt.Sprintf("let this user (uid %d) read and execute %s", os.Geteuid(), module))
	case errors.Is(err, hsm.ErrMachine):
		return failing(err, "install the vendor's package for "+runtime.GOARCH+", or run an otapack built for the module's machine")
	case errors.Is(err, hsm.ErrNoEntry):
		return failing(err, append([]string{fix, "this is some other library, perhaps an OpenSSL engine or provider of the same vendor"}, modulesHere()...)...)
	}
	return failing(err, append([]string{fix}, modulesHere()...)...)
}

func (d *doctor) checkTokens() finding {
	var labels, broken []string
	for _, s := range d.slots {
		switch {
		case s.Err != nil:
			broken = append(broken, fmt.Sprintf("slot %d (%s): %v", s.ID, s.Description, s.Err))
		case s.Initialized:
			labels = append(labels, tokenName(s.Token))
		}
	}
	text := fmt.Sprintf("%d initialised: %s", len(labels), strings.Join(labels, ", "))
	switch {
	case len(labels) == 0 && len(broken) == 0:
		return failing(fmt.Errorf("%w: the module has no initialised token", hsm.ErrTokenNotFound), d.makeToken()...)
	case len(labels) == 0:
		return failing(fmt.Errorf("%w: %s", hsm.ErrTokenNotFound, strings.Join(broken, "\n")), "check that the device is connected and that this user may use it")
	case len(broken) > 0:
		return warning(text+"\n"+strings.Join(broken, "\n"), "a slot that does not answer is left out; it matters only if your token is in it")
	}
	return found("%s", text)
}

// makeToken says how to come by a token.
func (d *doctor) makeToken() []string {
	if isSoftHSM(d.module) {
		return []string{
			"if there should be one, SoftHSM looks in the wrong place: the line softhsm says where",
			"else make one for development: otapack init --dev-token",
		}
	}
	return []string{"check that the device is connected and its service runs, or initialise a token with the vendor's tool"}
}

// checkToken goes from a token's name in the project file to its keys.
func (d *doctor) checkToken(t config.Token) {
	id := func(what string) string { return what + "." + t.Name }
	var uri hsm.URI
	var info hsm.TokenInfo
	d.run(id("token"), func() (f finding) {
		f, uri, info = d.findToken(t)
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
func (d *doctor) findToken(t config.Token) (finding, hsm.URI, hsm.TokenInfo) {
	var candidates []string
	for _, s := range d.slots {
		if s.Initialized {
			candidates = append(candidates, configLine(s.Token.URI()))
		}
	}
	choose := append([]string{"set hsm.tokens." + t.Name + " in " + d.configPath + " to one of these, each of which is on the module:"}, candidates...)
	uri, err := hsm.ParseURI(t.URI)
	if err != nil {
		return failing(err, choose...), uri, hsm.TokenInfo{}
	}
	token, err := hsm.Open(d.ctx, hsm.Options{Module: d.module, Token: uri})
	switch {
	case errors.Is(err, hsm.ErrTokenAmbiguous):
		return failing(err, append(choose, "if the serials are equal too, take one of the tokens away")...), uri, hsm.TokenInfo{}
	case errors.Is(err, hsm.ErrTokenNotFound), errors.Is(err, hsm.ErrURI):
		return failing(err, choose...), uri, hsm.TokenInfo{}
	case errors.Is(err, hsm.ErrSessions):
		return failing(err, "other programs hold all sessions of the token: end them, or wait"), uri, hsm.TokenInfo{}
	case err != nil:
		return failing(err, "the token is there and opens no session: check the device and its service"), uri, hsm.TokenInfo{}
	}
	info := token.Info()
	if err := token.Close(); err != nil {
		return warning(fmt.Sprintf("%s, but the module does not let go of it: %v", tokenText(info), err), "look into the log of the module"), uri, info
	}
	if clock, ok := tokenTime(info); ok {
		d.ahead[t.Name] = time.Until(clock)
	}
	return found("%s, 1 match", tokenText(info)), uri, info
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

// tokenTime reads the clock of a token that has one. What cannot be read is no
// clock.
func tokenTime(i hsm.TokenInfo) (time.Time, bool) {
	const layout = "20060102150405"
	if len(i.Clock) < len(layout) {
		return time.Time{}, false
	}
	t, err := time.Parse(layout, i.Clock[:len(layout)])
	return t, err == nil
}

// checkClock looks for a clock that was never set, and for tokens that disagree.
func checkClock(now time.Time, ahead map[string]time.Duration) finding {
	const (
		first, last = 2024, 2099
		tolerance   = 5 * time.Minute
	)
	text := now.UTC().Format("2006-01-02 15:04:05 MST")
	if y := now.UTC().Year(); y < first || y > last {
		return warning("this machine's clock says "+text, "set the clock, for example: timedatectl set-ntp true")
	}
	var off []string
	for alias, by := range ahead {
		if by.Abs() > tolerance {
			off = append(off, fmt.Sprintf("the clock of token %s is ahead by %s", alias, by.Round(time.Second)))
		}
	}
	switch {
	case len(off) > 0:
		slices.Sort(off)
		return warning(text+"; "+strings.Join(off, "; "), "set the clock that is wrong: records of key ceremonies carry this machine's time")
	case len(ahead) > 0:
		return found("%s, as the token's clock", text)
	}
	return found("%s", text)
}
