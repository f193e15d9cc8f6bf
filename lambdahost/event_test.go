package lambdahost

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/clewdev/clew/durable"
)

// TestOutcomeTooLarge: what Lambda would not pass on is left out and said to be.
func TestOutcomeTooLarge(t *testing.T) {
	big := `"` + strings.Repeat("<", maxAnswer/5) + `"` // six bytes each when they leave
	for _, h := range []durable.Head{
		{Status: durable.StatusSucceeded, Result: []byte(big)},
		{Status: durable.StatusFailed, Error: &durable.Error{Type: "T", Code: "c", Message: strings.Repeat("\x01", maxAnswer), Data: []byte(big)}},
	} {
		h.ID = "x"
		out, err := outcomeOf(&h)
		if err != nil || len(out) > maxAnswer {
			t.Fatalf("got %d bytes, %v, want at most %d", len(out), err, maxAnswer)
		}
		var o Outcome
		if err := json.Unmarshal(out, &o); err != nil || !o.TooLarge || o.Result != nil || o.Status != h.Status.String() {
			t.Errorf("got %.200s, want its status, and that it is too large", out)
		}
		if h.Error != nil && (o.Error.Code != "c" || o.Error.Message == "") {
			t.Errorf("got error %.200v, want its code and the beginning of its message", o.Error)
		}
	}
	out, err := outcomeOf(&durable.Head{Status: durable.StatusSucceeded, Result: []byte(`"` + strings.Repeat("a", maxAnswer-200) + `"`)})
	if err != nil || strings.Contains(string(out), "tooLarge") {
		t.Errorf("what fits: got %.100s, %v", out, err)
	}
}
