package whole_test

import (
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

const accountPassword = "correct horse battery"

// newAccount makes a person in the repository: there is no route for that yet.
func (w *world) newAccount(t *testing.T, role string) (login string) {
	t.Helper()
	// A cheap hash: what is tested is not its cost.
	hash, err := argon2id.CreateHash(accountPassword, &argon2id.Params{Memory: 1024, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	require.NoError(t, err)
	login = unique(role)
	_, err = w.db.Exec(t.Context(), `INSERT INTO account (id, login, password_hash, role) VALUES ($1, $2, $3, $4)`, uuid.New(), login, hash, role)
	require.NoError(t, err)
	return login
}
