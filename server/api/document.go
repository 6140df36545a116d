package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Document is the OpenAPI document, made without a repository. api/openapi.json is its committed copy.
func Document() ([]byte, error) {
	s := New(Config{Version: "1"})
	raw, err := json.Marshal(s.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", " "); err != nil {
		return nil, fmt.Errorf("indent the OpenAPI document: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// Permissions lists every documented route with its permission, for the test of the matrix.
func (s *Server) Permissions() map[string]string {
	out := map[string]string{}
	for path, item := range s.OpenAPI().Paths {
		for method, o := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch,
			http.MethodDelete: item.Delete,
		} {
			if o != nil {
				p, _ := o.Extensions["x-permission"].(string)
				out[method+" "+path] = p
			}
		}
	}
	return out
}
