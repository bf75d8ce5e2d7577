//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package provision

import (
	"errors"
	"os"
	"syscall"
)

// lock keeps other processes out until the file is closed, or this process ends
// in whatever way.
func lock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if controlErr := conn.Control(func(fd uintptr) { err = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); controlErr != nil {
		return controlErr
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}
