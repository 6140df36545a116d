// Package embedtemporal runs the Temporal server and its UI inside the process, persisted in PostgreSQL.
//
// Only cmd/pgdrover-standalone and tests may import it: it weighs 150 MB. All services listen on free loopback ports and
// know one another by static addresses. Because the internal ports give whoever reaches them an administrator's rights,
// every port takes mutual TLS under two throw-away authorities that live in memory only: one for the nodes among
// themselves, one for the frontend's clients. Temporal's UI has no sign-in we could use and listens on a port of its own,
// so its certificate alone opens nothing: the frontend also wants a secret header, which UIHandler adds after the caller
// has checked who asks, and then lets it read only. Two processes on one database would fight for its shards, so a lock
// in PostgreSQL keeps the second one out.
package embedtemporal
