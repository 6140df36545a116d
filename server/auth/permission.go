package auth

import (
	"slices"
	"strings"
)

// The roles.
const (
	RoleAdministrator = "administrator"
	RoleViewer        = "viewer"
)

// Public marks routes that need no sign-in; Self those that any signed-in person may use for themselves.
const (
	Public = "public"
	Self   = "self"
)

// Permissions is every permission a route or operation may ask for.
var Permissions = []string{
	"audit.read",
	"host.command", "host.manage", "host.read",
	"instance.create", "instance.delete", "instance.manage", "instance.operate", "instance.query", "instance.read",
	"operation.control", "operation.read",
	"schedule.manage", "schedule.read",
	"system.temporal",
}

// Of lists the permissions of a role.
func Of(role string) []string {
	switch role {
	case RoleAdministrator:
		return slices.Clone(Permissions)
	case RoleViewer:
		out := []string{}
		for _, p := range Permissions {
			// What was done by whom is for administrators.
			if strings.HasSuffix(p, ".read") && p != "audit.read" {
				out = append(out, p)
			}
		}
		return out
	}
	return []string{}
}

// Allows tells whether a role has a permission; an unknown permission is denied to everyone.
func Allows(role, permission string) bool {
	return permission == Self || slices.Contains(Of(role), permission)
}
