package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/otapack/otapack/hsm"
)

// isSoftHSM tells SoftHSM, whose configuration is checked, by its file name.
func isSoftHSM(module string) bool { return strings.Contains(filepath.Base(module), "softhsm") }

// softHSMConf is the configuration that SoftHSM reads, and what makes it that
// one: src/lib/common/SimpleConfigLoader.cpp, with the paths of the Debian package
// and of the sources.
func softHSMConf() (path, from string) {
	if path, set := os.LookupEnv(envSoftHSM); set {
		return path, envSoftHSM
	}
	if home, err := os.UserHomeDir(); err == nil {
		path := filepath.Join(home, ".config", "softhsm2", "softhsm2.conf")
		if _, err := os.Stat(path); err == nil {
			return path, "your home directory"
		}
	}
	if path := "/etc/softhsm2.conf"; isFile(path) && !isDir("/etc/softhsm") {
		return path, "its default"
	}
	return "/etc/softhsm/softhsm2.conf", "its default"
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// checkSoftHSM looks at what SoftHSM answers with nothing but CKR_GENERAL_ERROR:
// its configuration, and the folder with the tokens. devToken says that otapack
// has set SOFTHSM2_CONF itself.
func checkSoftHSM(devToken bool) finding {
	path, from := softHSMConf()
	if devToken {
		from = "the development token beside the project file"
	}
	unusable := func(err error) error {
		return fmt.Errorf("%w: SoftHSM's configuration, from %s: %w", hsm.ErrModule, from, err)
	}
	point := "point SOFTHSM2_CONF at a file with the line \"directories.tokendir = <folder>\""
	if from == envSoftHSM {
		point += ", or unset it"
	}
	tokens, err := tokenFolder(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return failing(unusable(err), readableFix(path), "or "+point)
	case err != nil:
		return failing(unusable(err), point, "a token for development with a configuration of its own: otapack init --dev-token, with SOFTHSM2_CONF not set")
	}
	entries, err := os.ReadDir(tokens)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return failing(unusable(fmt.Errorf("%s: its directories.tokendir: %w", path, err)), readableFix(tokens), "or "+point+", to a folder of your own")
	case errors.Is(err, fs.ErrNotExist):
		return failing(unusable(fmt.Errorf("%s: its directories.tokendir: %w", path, err)),
			"correct directories.tokendir in "+path+" if the tokens are elsewhere",
			"else make the folder: mkdir -p -m 700 '"+tokens+"'")
	case err != nil:
		return failing(unusable(fmt.Errorf("%s: its directories.tokendir: %w", path, err)), "correct directories.tokendir in "+path+": it has to be a folder")
	}
	for _, e := range entries { // SoftHSM leaves such a token out without a word
		if _, err := os.ReadDir(filepath.Join(tokens, e.Name())); errors.Is(err, fs.ErrPermission) {
			return warning(fmt.Sprintf("%s, from %s: a token in %s cannot be read by this user, SoftHSM leaves it out", path, from, tokens), readableFix(filepath.Join(tokens, e.Name())))
		}
	}
	return found("%s, from %s; tokens in %s", path, from, tokens)
}

// readableFix says how a file of SoftHSM becomes readable. On Debian the folders
// belong to a group.
func readableFix(path string) string {
	return fmt.Sprintf("let this user (uid %d) read %s, for example as a member of the group that owns it: usermod -aG softhsm <user>, and log in anew", os.Geteuid(), path)
}

// tokenFolder reads directories.tokendir from a configuration of SoftHSM.
func tokenFolder(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		name, value, ok := strings.Cut(line, "=")
		if ok && strings.TrimSpace(name) == "directories.tokendir" && strings.TrimSpace(value) != "" {
			return strings.TrimSpace(value), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%s: no line \"directories.tokendir = <folder>\"", path)
}
