//go:build cgo

package hsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/miekg/pkcs11"
)

// modules is the one package-level state, and it has to be: C_Initialize and
// C_Finalize act on the whole process, so the first Open of a module must
// initialise it and only the last Close may finalise it. Modules are keyed by
// the path without symbolic links, for two names of one library are one module.
var modules = struct {
	sync.Mutex
	open map[string]*module
}{open: make(map[string]*module)}

// module is a loaded and initialised PKCS#11 library.
type module struct {
	key  string
	path string
	ctx  *pkcs11.Ctx
	info ModuleInfo
	refs int // guarded by modules

	// mu is held for reading during calls, and for writing while the module is
	// finalised and initialised again, which ends all sessions.
	mu sync.RWMutex
	// owned is false when other code in this process had initialised the
	// module: then we must not finalise it.
	owned bool
	// generation counts initialisations. Sessions and handles are valid only in
	// the generation that they come from.
	generation int
}

// loadModule returns the module at path, loading it when it is not in use yet.
func loadModule(path string) (*module, error) {
	if err := CheckModule(path); err != nil {
		return nil, err
	}
	key, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("hsm: %w: %w", ErrModule, err)
	}
	modules.Lock()
	defer modules.Unlock()
	if m, ok := modules.open[key]; ok {
		m.refs++
		return m, nil
	}
	p, err := newContext(path)
	if err != nil {
		return nil, fmt.Errorf("hsm: module %s: %w: %w", path, ErrModule, err)
	}
	m := &module{key: key, path: path, ctx: p, refs: 1}
	if err := m.start(); err != nil {
		m.ctx.Destroy()
		return nil, fmt.Errorf("hsm: module %s: %w", path, err)
	}
	modules.open[key] = m
	return m, nil
}

// start initialises a new module and asks what it is.
func (m *module) start() error {
	if err := m.initialize(); err != nil {
		return err
	}
	raw, err := m.ctx.GetInfo()
	if err != nil {
		return errors.Join(call("C_GetInfo", err), m.finalize())
	}
	m.info = ModuleInfo{
		Path:         m.path,
		Manufacturer: trim(raw.ManufacturerID),
		Description:  trim(raw.LibraryDescription),
		Version:      versionText(raw.LibraryVersion),
		Cryptoki:     versionText(raw.CryptokiVersion),
	}
	return nil
}

// release gives up one reference; the last one finalises and unloads.
func (m *module) release() error {
	modules.Lock()
	defer modules.Unlock()
	if m.refs--; m.refs > 0 {
		return nil
	}
	delete(modules.open, m.key)
	err := m.finalize()
	m.ctx.Destroy()
	return err
}

// initialize begins a new generation. After an error the old one stays, so that
// whoever uses it finds it broken and restarts again. m.mu is held for writing,
// or m is new.
func (m *module) initialize() error {
	err := call("C_Initialize", m.ctx.Initialize())
	m.owned = err == nil
	if err != nil && !hasCode(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return err
	}
	m.generation++
	return nil
}

func (m *module) finalize() error {
	if !m.owned {
		return nil
	}
	m.owned = false
	return call("C_Finalize", m.ctx.Finalize())
}

// restart ends the generation that the caller found to be broken. When another
// caller was faster there is nothing to do.
func (m *module) restart(generation int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.generation != generation {
		return nil
	}
	_ = m.finalize() // it is broken: what counts is whether it starts again
	return m.initialize()
}

// lend runs f while the module is finalised, for code that insists on
// initialising it itself, and initialises it again.
func (m *module) lend(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.finalize(); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, m.initialize())
}

// call turns what miekg/pkcs11 returned into a CallError.
func call(function string, err error) error {
	var code pkcs11.Error
	if errors.As(err, &code) {
		return CallError{function, uint(code)}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", function, err)
	}
	return nil
}
