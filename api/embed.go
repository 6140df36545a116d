// Package api carries the committed OpenAPI document, so that programs can read at run time what the API offers: the
// command line makes a command of each operation in it. server/api makes the document, "make gen" commits it here.
package api

import _ "embed"

// Document is openapi.json.
//
//go:embed openapi.json
var Document []byte
