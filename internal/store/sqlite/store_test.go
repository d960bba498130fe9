package sqlite_test

import (
	"testing"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
	"github.com/ringback/ringback/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
