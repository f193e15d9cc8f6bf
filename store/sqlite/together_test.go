package sqlite_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/clewdev/clew/store/sqlite"
)

// TestOpenedByManyWhenNew: a file that many open in the moment in which it
// comes into being is everybody's, and nobody takes it for another program's.
func TestOpenedByManyWhenNew(t *testing.T) {
	for range 30 {
		path := filepath.Join(t.TempDir(), "new.db")
		var wg sync.WaitGroup
		for range 6 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				s, err := sqlite.Open(path, sqlite.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
	}
}
