// Package postgres is pure knowledge about PostgreSQL and Postgres Pro: how their files and programs' output read,
// how versions compare and how names are quoted. It does no I/O, so that manager and agent share it and tests of it
// need no server.
package postgres
