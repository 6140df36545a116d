package op

import (
	"reflect"
	"strings"
)

// Secret is a password or key in an operation's input. The API takes the value; admission seals it in the
// repository and puts a reference in its place, so that no payload and no history ever holds the value.
type Secret string

const secretPrefix = "secret:"

// SecretReference makes the reference to a sealed secret.
func SecretReference(id string) Secret { return Secret(secretPrefix + id) }

// Reference returns the id of the sealed secret; ok is false for a plain value and for an empty one.
func (s Secret) Reference() (id string, ok bool) { return strings.CutPrefix(string(s), secretPrefix) }

// Secrets lists the non-empty Secret fields of a prepared input, nested structs included, by JSON name.
func Secrets(in any) map[string]*Secret {
	found := map[string]*Secret{}
	collectSecrets(reflect.ValueOf(in).Elem(), "", found)
	return found
}

func collectSecrets(v reflect.Value, prefix string, found map[string]*Secret) {
	for f, fv := range v.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if s, ok := reflect.TypeAssert[*Secret](fv.Addr()); ok {
			if *s != "" {
				found[prefix+name] = s
			}
			continue
		}
		if fv.Kind() == reflect.Struct && f.IsExported() {
			collectSecrets(fv, prefix+name+".", found)
		}
	}
}
