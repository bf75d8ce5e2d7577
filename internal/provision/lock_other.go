//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package provision

import (
	"errors"
	"fmt"
	"os"
)

// lock knows no way to keep other processes out here.
func lock(*os.File) error {
	return fmt.Errorf("locking a file: %w", errors.ErrUnsupported)
}
