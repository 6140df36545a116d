package op

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// decodeStrict refuses unknown fields and trailing data, which JSON Schema validation refuses too; workflows
// and schedules come this way without passing the API.
func decodeStrict(raw json.RawMessage, v any) error {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the JSON value")
	}
	return nil
}

// ApplyDefaults sets the fields that have a `default` tag; the same tag feeds the JSON Schema.
func ApplyDefaults(v any) error {
	rv := reflect.ValueOf(v).Elem()
	for f, fv := range rv.Fields() {
		def, ok := f.Tag.Lookup("default")
		if !ok {
			continue
		}
		if fv.Kind() == reflect.String {
			fv.SetString(def)
			continue
		}
		if err := json.Unmarshal([]byte(def), fv.Addr().Interface()); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	return nil
}

func fieldByJSON(t reflect.Type, name string) []int {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name && f.Type.Kind() == reflect.String {
			return f.Index
		}
	}
	return nil
}
