package hsm

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// Why a file is no module; they come with ErrModule, and a file that is not
// there or cannot be read with the error of package io/fs.
var (
	ErrNotELF  = errors.New("not an ELF shared object")
	ErrMachine = errors.New("for another machine")
	ErrNoEntry = errors.New("it does not export C_GetFunctionList")
)

var elfMachines = map[string]elf.Machine{
	"386":     elf.EM_386,
	"amd64":   elf.EM_X86_64,
	"arm":     elf.EM_ARM,
	"arm64":   elf.EM_AARCH64,
	"riscv64": elf.EM_RISCV,
}

// CheckModule says why a file cannot be loaded as a PKCS#11 module, which the
// loader itself does not tell: the path is relative, there is no such file, it
// is no ELF shared object, it is for another machine, or it does not export
// C_GetFunctionList. An error wraps ErrModule. Nil means that loading is worth
// a try; nothing of the file has been executed.
func CheckModule(path string) error {
	if !filepath.IsAbs(path) { // the loader would search for it
		return fmt.Errorf("hsm: module %q: %w: not an absolute path", path, ErrModule)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("hsm: %w: %w", ErrModule, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("hsm: module %s: %w: not a regular file", path, ErrModule)
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("hsm: module %s: %w: %w: %w", path, ErrModule, ErrNotELF, err)
	}
	defer f.Close()
	if want, ok := elfMachines[runtime.GOARCH]; ok && f.Machine != want {
		return fmt.Errorf("hsm: module %s: %w: %w: built for %v, this program for %s", path, ErrModule, ErrMachine, f.Machine, runtime.GOARCH)
	}
	if f.Type != elf.ET_DYN {
		return fmt.Errorf("hsm: module %s: %w: %w", path, ErrModule, ErrNotELF)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil // stripped of its section headers: the loader finds symbols without them
	}
	if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool {
		return s.Name == "C_GetFunctionList" && s.Section != elf.SHN_UNDEF
	}) {
		return fmt.Errorf("hsm: module %s: %w: %w", path, ErrModule, ErrNoEntry)
	}
	return nil
}
