// Package apiclient is the Go client of pgdrover's API, generated from the committed OpenAPI document: a type for each
// schema and a method for each endpoint. "make gen" writes it anew, and "git diff" then tells whether it was fresh.
//
// It knows nothing of sign-in: give it an HTTP client that does, with WithHTTPClient.
package apiclient

//go:generate oapi-codegen -config config.yaml ../../api/openapi.json
