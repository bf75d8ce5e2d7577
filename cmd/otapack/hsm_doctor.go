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
	d.run("tokens", answered("C_GetSlotList", fix, func() finding {
		f := d.checkTokens()
		if err != nil && f.status == checkOK {
			return warning(f.detail+"\n"+err.Error(), "the module does not let go cleanly: look into its log")
		}
		return f
	}), "module-info")
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
