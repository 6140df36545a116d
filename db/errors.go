package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

func subFS() (fs.FS, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read embedded migrations: %w", err)
	}
	return sub, nil
}

// Code is the SQLSTATE of an error out of PostgreSQL, empty for others.
func Code(err error) string {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code
	}
	return ""
}

// Constraint is the name of the violated constraint, empty for other errors.
func Constraint(err error) string {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.ConstraintName
	}
	return ""
}

// IsUnavailable tells whether the repository cannot be reached or is starting or stopping: try again later.
func IsUnavailable(err error) bool {
	if err == nil {
		return false
	}
	switch Code(err) {
	case "57P01", "57P02", "57P03", "53300", "08000", "08003", "08006":
		return true
	case "":
	default:
		return false
	}
	var ce *pgconn.ConnectError
	var ne net.Error
	var oe *net.OpError
	if errors.As(err, &ce) || errors.As(err, &oe) || pgconn.SafeToRetry(err) {
		return true
	}
	return errors.As(err, &ne) && !errors.Is(err, context.Canceled)
}
