package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/otapack/otapack/hsm"
	"github.com/otapack/otapack/internal/config"
)

func (a *app) hsmCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "hsm <command>",
		Short: "Look at PKCS#11 modules and tokens, and find out what is wrong",
		Long:  "Show what a PKCS#11 module has, and check everything that signing needs, from the\nmodule's file to a trial signature. Nothing on a token is changed.",
	})
	c.AddCommand(a.hsmListCommand(), a.hsmDoctorCommand())
	return c
}

// loadPart reads as much of the project file as there is: what looks at a module
// is wanted most where the file is not right yet.
func (a *app) loadPart() (*config.Config, error) {
	cfg, err := config.LoadPart(a.configPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cfg, noConfig(a.configPath)
	case err != nil:
		return cfg, err
	}
	return cfg, checkURIs(cfg)
}

// tokenName is a token's label for people, who need to see that there is none.
func tokenName(i hsm.TokenInfo) string {
	if i.Label == "" {
		return "without a label"
	}
	return i.Label
}

// fullURI names a token by all that a URI can say of it.
func fullURI(i hsm.TokenInfo) hsm.URI {
	return hsm.URI{Token: i.Label, Serial: i.Serial, Model: i.Model, Manufacturer: i.Manufacturer}
}

// knownModules are where the packages of the modules in docs/hsm.md put them.
var knownModules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/lib/*/p11-kit-proxy.so",
	"/usr/lib64/p11-kit-proxy.so",
	"/usr/lib/*/pkcs11/libtpm2_pkcs11.so",
	"/usr/lib64/pkcs11/libtpm2_pkcs11.so",
	"/usr/lib/*/opensc-pkcs11.so",
	"/usr/lib64/opensc-pkcs11.so",
	"/usr/lib/*/pkcs11/yubihsm_pkcs11.so",
	"/usr/lib/*/libykcs11.so",
	"/opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
	"/usr/safenet/lunaclient/lib/libCryptoki2_64.so",
	"/opt/azurecloudhsm/lib64/libazcloudhsm_pkcs11.so",
	"/opt/nfast/toolkits/pkcs11/libcknfast.so",
}

// installedModules lists those that are on this machine.
func installedModules() []string {
	var found []string
	for _, pattern := range knownModules {
		paths, err := filepath.Glob(pattern)
		if err == nil {
			found = append(found, paths...)
		}
	}
	return found
}

// configLine is a URI as a line of the project file.
func configLine(u hsm.URI) string { return fmt.Sprintf("uri: %q", u.String()) }
