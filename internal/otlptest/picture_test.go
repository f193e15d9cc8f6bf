package otlptest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func spanOf(id, parent byte, name string, from, to time.Duration) Span {
	s := ptrace.NewSpan()
	s.SetSpanID(pcommon.SpanID{id})
	if parent != 0 {
		s.SetParentSpanID(pcommon.SpanID{parent})
	}
	s.SetName(name)
	began := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(began.Add(from)))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(began.Add(to)))
	return Span{Span: s, Service: "shop"}
}

// TestPicture: each span has a row, in the order of the tree, and each link an
// arrow; the picture is XML whatever spans are called.
func TestPicture(t *testing.T) {
	undo := spanOf(4, 1, "undo <reserve>", 6*time.Second, 8*time.Second)
	undo.Links().AppendEmpty().SetSpanID(pcommon.SpanID{2})
	spans := []Span{spanOf(1, 0, "payment", 0, 9*time.Second), spanOf(2, 1, "<reserve>", time.Second, 5*time.Second), undo, spanOf(3, 2, "attempt & more", 2*time.Second, 4*time.Second)}
	var out bytes.Buffer
	if err := Picture(&out, "a & b", spans); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for dec := xml.NewDecoder(bytes.NewReader(out.Bytes())); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
		if text, ok := token.(xml.CharData); ok && strings.TrimSpace(string(text)) != "" {
			rows = append(rows, string(text))
		}
	}
	last := -1
	for _, name := range []string{"a & b", "payment", "<reserve>", "attempt & more", "undo <reserve>"} {
		i := -1
		for n, row := range rows {
			if row == name {
				i = n
				break
			}
		}
		if i <= last {
			t.Errorf("%q is at place %d of %q, want it after place %d", name, i, rows, last)
		}
		last = i
	}
	if n := strings.Count(out.String(), `class="link"`); n != 1 {
		t.Errorf("%d arrows, want 1", n)
	}
	if err := Picture(&out, "nothing", nil); err == nil {
		t.Error("there is a picture of nothing")
	}
}
