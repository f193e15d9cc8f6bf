package compensate_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/clewdev/clew/compensate"
)

func Example() {
	var s compensate.Stack[string]
	s.Push(compensate.Action[string]{Order: 1, Name: "flight", Value: "KL 123"})
	s.Push(compensate.Action[string]{Order: 2, Name: "hotel", Value: "room 7"})
	err := s.Unwind(context.Background(), compensate.InOrder, func(_ context.Context, a compensate.Action[string]) error {
		fmt.Println("cancel", a.Name, a.Value)
		return nil
	})
	fmt.Println(err)
	// Output:
	// cancel hotel room 7
	// cancel flight KL 123
	// <nil>
}

func TestUnwindFollowsOrderNotPushes(t *testing.T) {
	var s compensate.Stack[int]
	for _, order := range []int64{2, 3, 1, 3} {
		s.Push(compensate.Action[int]{Order: order, Name: fmt.Sprintf("%d.%d", order, s.Len())})
	}
	var got []string
	if err := s.Unwind(t.Context(), compensate.InOrder, func(_ context.Context, a compensate.Action[int]) error {
		got = append(got, a.Name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"3.3", "3.1", "2.0", "1.2"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s.Len() != 0 {
		t.Errorf("%d actions left, want none", s.Len())
	}
}

func TestFailedUndo(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		policy     compensate.Policy
		ran, again string
	}{
		{compensate.InOrder, "d c", "c b a"},
		{compensate.GoOn, "d c b a", "c"},
	} {
		var s compensate.Stack[int]
		for i, name := range []string{"a", "b", "c", "d"} {
			s.Push(compensate.Action[int]{Order: int64(i), Name: name})
		}
		var ran []string
		fail := true
		run := func(_ context.Context, a compensate.Action[int]) error {
			ran = append(ran, a.Name)
			if a.Name == "c" && fail {
				return broken
			}
			return nil
		}
		err := s.Unwind(t.Context(), c.policy, run)
		var failed *compensate.Error
		if !errors.Is(err, broken) || !errors.As(err, &failed) || failed.Name != "c" {
			t.Errorf("policy %d: got %v, want the error of c", c.policy, err)
		}
		if got := strings.Join(ran, " "); got != c.ran {
			t.Errorf("policy %d: ran %q, want %q", c.policy, got, c.ran)
		}
		ran, fail = nil, false
		if err := s.Unwind(t.Context(), c.policy, run); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(ran, " "); got != c.again {
			t.Errorf("policy %d: the second time ran %q, want %q", c.policy, got, c.again)
		}
	}
}

func TestUnwindStopsWithItsContext(t *testing.T) {
	var s compensate.Stack[int]
	s.Push(compensate.Action[int]{Name: "a"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Unwind(ctx, compensate.GoOn, func(context.Context, compensate.Action[int]) error {
		t.Error("ran under an ended context")
		return nil
	})
	if !errors.Is(err, context.Canceled) || s.Len() != 1 {
		t.Errorf("got %v with %d left, want context.Canceled with 1", err, s.Len())
	}
}

// TestUnwindTogether: what stands beside each other is undone at once, the members
// of a lane one after the other, and what is no neighbour by itself.
func TestUnwindTogether(t *testing.T) {
	var s compensate.Stack[int]
	for i, a := range strings.Fields("x g.a1 g.a2 g.b1 g.a3 g.c1 y g.b2") {
		together, name, grouped := strings.Cut(a, ".")
		if !grouped {
			together, name = "", a
		}
		s.Push(compensate.Action[int]{Order: int64(i), Name: name, Together: together, Lane: name[:1]})
	}
	var batches []string
	err := s.UnwindTogether(t.Context(), compensate.InOrder, func(_ context.Context, batch []compensate.Action[int]) []error {
		var names []string
		for _, a := range batch {
			names = append(names, a.Name)
		}
		batches = append(batches, strings.Join(names, "+"))
		return make([]error, len(batch))
	})
	if got, want := strings.Join(batches, " "), "b2 y c1+a3+b1 a2 a1 x"; err != nil || got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}
