package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// Terminal is what the command line asks of the terminal it may run on.
type Terminal interface {
	// Interactive tells whether a person can answer a prompt.
	Interactive() bool
	// Width of the display for progress in columns, 0 where it is none.
	Width() int
	// ReadPassword reads a line without echo.
	ReadPassword() (string, error)
}

type terminal struct{}

func (terminal) Interactive() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

func (terminal) Width() int {
	if !term.IsTerminal(int(os.Stderr.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0
	}
	w, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil || w < 20 {
		return 80
	}
	return w
}

func (terminal) ReadPassword() (string, error) {
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	return string(b), err
}

// askSecret reads a secret from a prompt.
func (c *CLI) askSecret(prompt string) (string, error) {
	fmt.Fprint(c.Err, prompt+": ")
	text, err := c.Terminal.ReadPassword()
	fmt.Fprintln(c.Err)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", strings.ToLower(prompt), err)
	}
	return text, nil
}

// ask reads a line from a prompt, byte by byte: what follows belongs to the next reader.
func (c *CLI) ask(prompt string) (string, error) {
	fmt.Fprint(c.Err, prompt+": ")
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := c.In.Read(b)
		if n == 1 && b[0] == '\n' {
			return strings.TrimSpace(string(line)), nil
		}
		line = append(line, b[:n]...)
		if err != nil {
			if errors.Is(err, io.EOF) && len(line) > 0 {
				return strings.TrimSpace(string(line)), nil
			}
			return "", fmt.Errorf("read %s: %w", strings.ToLower(prompt), err)
		}
	}
}

// maxSecret bounds what is read as a secret from a file or standard input.
const maxSecret = 64 << 10

// readSecret reads a secret and drops one line end, which editors and echo add.
func readSecret(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("it is longer than %d bytes", maxSecret)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if s == "" {
		return "", fmt.Errorf("it is empty")
	}
	return s, nil
}

// clean takes out what would move the cursor or change the terminal: names and output come from elsewhere.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return r
		}
		if unicode.IsControl(r) || r == '\u202e' || r == '\u2066' || r == '\u2067' {
			return -1
		}
		return r
	}, s)
}

// oneLine is clean text for a table's cell.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }
