package lambdalocal

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	tailSize   = 4096 // bytes, as Lambda returns them
	digestSize = 2048
)

// logf adds a line of Lambda's own to what the sandbox writes.
func (s *sandbox) logf(format string, args ...any) {
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return // the Lambda was closed
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, format+"\n", args...) // as for the process, whose disk may be full
}

// logSize is how much has been written.
func (s *sandbox) logSize() int64 {
	info, err := os.Stat(s.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// tail is the end of what was logged since from. What a process has written
// before it answered is in the file.
func (s *sandbox) tail(from int64) string {
	f, err := os.Open(s.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	from = max(from, s.logSize()-tailSize)
	text, err := io.ReadAll(io.NewSectionReader(f, from, tailSize))
	if err != nil {
		return ""
	}
	return string(text)
}

// Logs returns what all sandboxes of a function's versions have written so
// far, one after the other, with the lines START, END and REPORT that Lambda
// adds.
func (l *Lambda) Logs(name string) string {
	files, err := filepath.Glob(filepath.Join(l.dir, name, "*.log"))
	if err != nil {
		return ""
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the Lambda was closed
		}
		all.Write(text)
	}
	return all.String()
}

// digest is the end of every sandbox's log, for a test that has failed.
func (l *Lambda) digest() string {
	files, err := filepath.Glob(filepath.Join(l.dir, "*", "*.log"))
	if err != nil {
		return err.Error()
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, _ = fmt.Fprintf(&all, "--- %s\n%s", filepath.Base(file), text[max(0, len(text)-digestSize):]) // never fails
	}
	return all.String()
}
