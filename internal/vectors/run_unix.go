//go:build unix

package vectors

import (
	"os/exec"
	"syscall"
)

// group puts a process into a group of its own, which is killed as one: a script
// does not leave behind what it has started.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
