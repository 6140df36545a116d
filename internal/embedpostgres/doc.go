// Package embedpostgres initialises and supervises a PostgreSQL cluster of our own in a folder.
//
// The standalone binary keeps the repository in one when it is given none, and tests start quick real servers with it.
// The server is a separate process that outlives us on purpose: after a kill -9 of the manager the next Start adopts the
// running postmaster instead of failing or restarting it. One process at a time may manage a folder (a file lock says so).
// As root every PostgreSQL program runs as an unprivileged user, because PostgreSQL refuses to run as root.
package embedpostgres
