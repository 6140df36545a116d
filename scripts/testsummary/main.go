// Command testsummary turns the stream of "go test -json" into something to read.
//
// It prints a line for each package as it ends, the whole output of what failed, the slowest tests and, as its last line,
// "N passed, M failed". A package that breaks without a failed test (it does not build, it times out, its TestMain fails)
// counts as one failure. Skipped tests are listed, because a suite that skips silently proves nothing. It exits with 1
// when anything failed or nothing ran.
//
//	go test -json ./... 2>&1 | go run ./scripts/testsummary
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of test2json, with the build events that go test adds.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64
	Output     string
}

type result struct {
	name    string // package and test
	elapsed float64
}

// summary collects what happened. Output is kept only until it is known whether anybody wants it.
type summary struct {
	out             io.Writer
	output          map[string][]string // by package and test
	builds          map[string][]string // by import path
	failedTests     map[string]bool
	parents         map[string]bool
	passed, skipped []result
	failed          []string
	packages        int
}

func main() {
	slowest := flag.Int("slowest", 10, "how many of the slowest tests to list")
	flag.Parse()
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !s.report(*slowest) {
		os.Exit(1)
	}
}

func newSummary(out io.Writer) *summary {
	return &summary{
		out: out, output: map[string][]string{}, builds: map[string][]string{},
		failedTests: map[string]bool{}, parents: map[string]bool{},
	}
}

func (s *summary) read(in io.Reader) error {
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
				s.add(e)
			} else {
				fmt.Fprint(s.out, line) // what go itself says besides
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

func (s *summary) add(e event) {
	key := e.Package + "." + e.Test
	switch e.Action {
	case "build-output":
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
	case "build-fail": // counted with the packages it breaks
		s.print("build of "+e.ImportPath+" failed", s.builds[e.ImportPath])
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			s.parents[e.Package+"."+e.Test[:i]] = true
		}
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "pass", "skip", "fail":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(e, key)
		}
		delete(s.output, key)
	}
}

// endTest counts a test. A parent counts through its subtests, unless it failed by itself.
func (s *summary) endTest(e event, key string) {
	switch e.Action {
	case "fail":
		s.print(key+" failed", s.output[key])
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			s.failedTests[e.Package+"."+e.Test[:i]] = true
		}
		if !s.failedTests[key] {
			s.failed = append(s.failed, key)
		}
		s.failedTests[e.Package+"."] = true
	case "skip":
		s.skipped = append(s.skipped, result{key + ": " + reason(s.output[key]), e.Elapsed})
	default:
		if !s.parents[key] {
			s.passed = append(s.passed, result{key, e.Elapsed})
		}
	}
}

func (s *summary) endPackage(e event) {
	s.packages++
	key := e.Package + "."
	word := map[string]string{"pass": "ok  ", "skip": "none", "fail": "FAIL"}[e.Action]
	fmt.Fprintf(s.out, "%s %7.2fs  %s\n", word, e.Elapsed, e.Package)
	if e.Action == "fail" && !s.failedTests[key] {
		s.print("package "+e.Package+" failed", s.output[key])
		// Tests that never ended (a timeout, a panic) have said why under their own names.
		for name, lines := range s.output {
			if strings.HasPrefix(name, key) && name != key {
				s.print("unfinished: "+name, lines)
				delete(s.output, name)
			}
		}
		s.failed = append(s.failed, "package "+e.Package)
	}
}

func (s *summary) print(title string, lines []string) {
	fmt.Fprintf(s.out, "--- %s\n", title)
	for _, line := range lines {
		fmt.Fprint(s.out, "    ", line)
	}
}

func (s *summary) report(slowest int) bool {
	slices.SortStableFunc(s.passed, func(a, b result) int { return cmp.Compare(b.elapsed, a.elapsed) })
	fmt.Fprintf(s.out, "\nslowest of %d tests in %d packages:\n", len(s.passed), s.packages)
	for _, r := range s.passed[:min(slowest, len(s.passed))] {
		fmt.Fprintf(s.out, "%8.2fs  %s\n", r.elapsed, r.name)
	}
	if len(s.skipped) > 0 {
		fmt.Fprintf(s.out, "\nskipped:\n")
		for _, r := range s.skipped {
			fmt.Fprintf(s.out, "  %s\n", r.name)
		}
	}
	if len(s.failed) > 0 {
		fmt.Fprintf(s.out, "\nfailed:\n")
		for _, name := range s.failed {
			fmt.Fprintf(s.out, "  %s\n", name)
		}
	}
	fmt.Fprintf(s.out, "\n%d passed, %d failed\n", len(s.passed), len(s.failed))
	return len(s.failed) == 0 && len(s.passed) > 0
}

// reason finds what a skipped test said.
func reason(lines []string) string {
	for _, line := range lines {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "===") && !strings.HasPrefix(text, "---") {
			return text
		}
	}
	return "no reason given"
}
