package facts

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkKnown is the look of every second, at ten stopped instances.
func BenchmarkKnown(b *testing.B) {
	root := real(b.TempDir())
	c := New(Options{OnlyUnder: []string{root}})
	for i := range 10 {
		dir := filepath.Join(root, fmt.Sprint(i))
		cluster(b, dir, 1)
		if err := os.WriteFile(filepath.Join(dir, "postgresql.conf"), make([]byte, 30000), 0o600); err != nil {
			b.Fatal(err)
		}
		c.known.add(dir)
	}
	for b.Loop() {
		if len(c.Known()) != 10 {
			b.Fatal("not all are known")
		}
	}
}
