# pgdrover. "make help" lists the targets; "make run" on a fresh machine ends with a manager to open in a browser.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# One set of build flags for programs, tests and lint: another set would compile Temporal, five minutes of work, once more.
export CGO_ENABLED := 0
export GOFLAGS := $(filter-out -trimpath,$(shell go env GOFLAGS)) -trimpath

# Linked without symbol tables: the standalone binary is 60 MB smaller and links in half the time.
LDFLAGS := -s -w

TOOLS := bin/tools
# npm packages may carry Go files, which are no packages of ours.
PACKAGES = $(shell go list -e ./... | grep -v /node_modules/)
LINT_DIRS = $(shell go list -e -f '{{.Dir}}' ./... | grep -v /node_modules/)

WEB := $(wildcard webapp/package.json)
WEB_SOURCES := $(if $(WEB),$(shell find webapp \( -name node_modules -o -name dist \) -prune -o -type f -print),)

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: setup build ## build what is not fresh and run the whole system on this machine
	exec ./bin/pgdrover-standalone $(ARGS)

.PHONY: setup
setup: ## install what this machine lacks (Debian, Ubuntu)
	@scripts/setup run

.PHONY: build
build: web ## build the web app and the programs into ./bin
	@mkdir -p bin
	@if [ -n "$$(ls cmd 2>/dev/null)" ]; then go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...; fi

.PHONY: web
web: $(if $(WEB),webapp/dist/index.html,)

# npm writes this file at the end of an installation, so it is the honest stamp of one.
webapp/node_modules/.package-lock.json: webapp/package-lock.json
	cd webapp && npm ci --no-audit --no-fund
	@touch $@

webapp/dist/index.html: webapp/node_modules/.package-lock.json $(WEB_SOURCES)
	cd webapp && npm run build
	@touch $@

.PHONY: test
test: ## everything: setup, checks, Go and web tests, the short crash matrix
	@scripts/test

.PHONY: test-go
test-go: ## the Go tests alone
	@go test -json -count=1 -timeout 40m $(PACKAGES) 2>&1 | go run ./scripts/testsummary

.PHONY: test-race
test-race: ## the Go tests under the race detector (needs a C compiler)
	@CGO_ENABLED=1 go test -race -json -count=1 -timeout 60m $(PACKAGES) 2>&1 | go run ./scripts/testsummary

.PHONY: check
check: lint web-lint openapi-lint fresh ## every static check

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/workflowcheck ## check the Go code: style, walls between packages, determinism
	$(TOOLS)/golangci-lint run $(LINT_DIRS)
	@if [ -d workflows ]; then $(TOOLS)/workflowcheck -config .workflowcheck.yaml ./workflows/...; fi

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## format the Go code
	$(TOOLS)/golangci-lint fmt $(LINT_DIRS)

.PHONY: web-lint
web-lint: $(if $(WEB),webapp/node_modules/.package-lock.json,)
	@if [ -n "$(WEB)" ]; then cd webapp && npm run --silent lint; fi

.PHONY: gen
gen: $(TOOLS)/sqlc $(TOOLS)/oapi-codegen $(if $(WEB),webapp/node_modules/.package-lock.json,) ## regenerate queries and API clients
	cd db && ../$(TOOLS)/sqlc generate
	@go run ./cmd/pgdrover openapi > api/openapi.json.new && mv api/openapi.json.new api/openapi.json
	PATH="$(CURDIR)/$(TOOLS):$$PATH" go generate ./...
	@if [ -n "$(WEB)" ] && [ -f api/openapi.json ]; then cd webapp && npm run --silent gen; fi

# npm writes this file at the end of an installation, so it is the honest stamp of one.
tools/openapi/node_modules/.package-lock.json: tools/openapi/package-lock.json
	cd tools/openapi && npm ci --no-audit --no-fund
	@touch $@

.PHONY: openapi-lint
openapi-lint: tools/openapi/node_modules/.package-lock.json ## check the committed OpenAPI document
	@cd tools/openapi && out=$$(REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		node_modules/.bin/redocly lint --config redocly.yaml --format codeframe ../../api/openapi.json 2>&1) || { echo "$$out"; exit 1; }

# What "make gen" makes.
GENERATED := db/gen api/openapi.json internal/apiclient/client.gen.go $(if $(WEB),webapp/src/api/schema.gen.ts,)

# Compares with the files as they lie here and not with the last commit: whoever works on something has changed files.
.PHONY: fresh
fresh: ## fail where generated files are not what their sources make; they are made anew
	@state() { find $(GENERATED) -type f -exec sha256sum {} + | sort -k2; }; \
	before=$$(state); $(MAKE) --no-print-directory gen; after=$$(state); \
	if [ "$$before" != "$$after" ]; then \
		echo "generated files were not fresh; look at them and commit them:" >&2; \
		diff <(echo "$$before") <(echo "$$after") | awk '/^[<>]/ {print "  " $$3}' | sort -u >&2; exit 1; \
	fi

.PHONY: replay-record
replay-record: ## record the histories of every operation for the tests of replay; they are kept for each release
	go test ./workflows/op/optest/record -run "^TestRecord$$" -count=1 -record $(or $(RELEASE),$(notdir $(lastword $(sort $(wildcard workflows/testdata/replay/*)))))

.PHONY: bench
bench: ## the budgets of the design, measured; a busy machine shows in the numbers
	@go test -run '^$$' -bench . -benchtime 1x -timeout 40m ./e2e/bench

.PHONY: crash-matrix
crash-matrix: ## every operation with a crash at every step; takes long, "make test" runs the short part
	go run ./e2e/crashmatrix $(ARGS)

# Each tool has a module of its own: together their requirements would move one another's versions.
$(TOOLS)/%: tools/%/go.mod tools/%/go.sum
	@mkdir -p $(TOOLS)
	@echo "building $* (once)"
	@cd tools/$* && CGO_ENABLED=$(if $(filter sqlc,$*),1,0) go build -o ../../$@ "$$(go list tool)"
	@touch $@

.PHONY: clean
clean: ## remove what was built, not what a running system keeps in .pgdrover
	rm -rf bin .cache webapp/dist/* webapp/node_modules tools/openapi/node_modules e2e/out
