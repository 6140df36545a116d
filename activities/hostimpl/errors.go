package hostimpl

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/pgdrover/pgdrover/activities/hostimpl/safefs"
	"github.com/pgdrover/pgdrover/workflows/op"
	"go.temporal.io/sdk/temporal"
)

// classify turns an error of the operating system into one that says whether another attempt may help. What no retry
// can mend is permanent, or the operation would repeat it until somebody looks; all else stays retryable.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) || errors.Is(err, context.Canceled) {
		return err
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return op.Permanent(op.CodeDiskFull, "%v", "Free space on that file system, then retry the operation.", err)
	case errors.Is(err, safefs.ErrLink), errors.Is(err, safefs.ErrInvalid), errors.Is(err, syscall.ELOOP):
		return op.Permanent(op.CodeInvalid, "%v", "Give the real path, without symbolic links.", err)
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return op.Permanent("permission-denied", "%v", "The agent's user may not do this on the host.", err)
	case errors.Is(err, os.ErrNotExist):
		return op.Permanent(op.CodeNotFound, "%v", "", err)
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return op.Permanent(op.CodeInvalid, "%v", "", err)
	}
	return err
}

// permanent tells whether the answer to a step is final: the same question gets the same answer for ever.
func permanent(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.NonRetryable()
}
