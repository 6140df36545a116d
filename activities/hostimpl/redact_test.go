package hostimpl

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRedactStatement: initdb prints the statement that failed, with the password as it is within a literal.
func TestRedactStatement(t *testing.T) {
	t.Parallel()
	last := newTail(1000)
	r := newRedact(last, []string{`it's a \ secret`})
	_, err := r.Write([]byte(`ALTER USER x WITH PASSWORD E'it''s a \\ secret'; 'it''s a \ secret'; it's a \ secret`))
	require.NoError(t, err)
	r.flush()
	require.Equal(t, `ALTER USER x WITH PASSWORD E'***'; '***'; ***`, last.String())
}
