package dynamo

import (
	"reflect"
	"sync"
	"testing"

	"github.com/clewdev/clew/internal/dynamolocal"
)

// TestRoster: many hosts enrol at once, and each definition version is kept
// once, whatever is in its name.
func TestRoster(t *testing.T) {
	s := newStore(t, dynamolocal.Client(t))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, mine := range [][][2]string{{{"pay@ment", "1#2"}}, {{"pay", "ment@1%40"}, {"pay@ment", "1#2"}}, nil} {
				if _, err := s.Enrol(t.Context(), mine); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Enrol(t.Context(), nil)
	want := [][2]string{{"pay", "ment@1%40"}, {"pay@ment", "1#2"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
