package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/clewdev/clew/durable"
)

// smallDisk mounts a disk of a few megabytes.
func smallDisk(t *testing.T, options string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("clew-test", dir, "tmpfs", 0, options); err != nil {
		t.Skip("needs the right to mount a small disk:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill takes all the space that is left but some bytes, and returns what gives
// it back.
func fill(t *testing.T, dir string, but int64) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	for err == nil {
		var n int
		n, err = f.Write(make([]byte, 4096))
		size += int64(n)
	}
	if err := f.Truncate(max(0, size-but)); err != nil {
		t.Fatal(err)
	}
	return func() { os.Remove(name) }
}

// On a full disk writes fail and say so; what was acknowledged stays, reads go
// on, and once there is space the same store writes again.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "size=24m")
	path := filepath.Join(dir, "clew.db")
	s := openAt(t, path)
	var acknowledged []string
	for round, but := range []int64{0, 4096, 100_000, 1 << 20, 4 << 20, 0} {
		free := fill(t, dir, but)
		for i := 0; ; i++ {
			c := pending(fmt.Sprintf("order-%d-%04d", round, i))
			c.Input = bytes.Repeat([]byte{'x'}, 3000)
			err := s.Create(t.Context(), c)
			if err == nil && i < 5000 {
				acknowledged = append(acknowledged, c.ID)
				continue
			}
			wantBroken(t, err, path, "disk", "full")
			t.Logf("with %d bytes free, write %d: %v", but, i, err)
			break
		}
		if _, err := s.Load(t.Context(), "none", durable.LoadAll); !errors.Is(err, durable.ErrNotFound) {
			t.Errorf("a read on a full disk: got %v, want ErrNotFound", err)
		}
		for _, id := range acknowledged {
			if _, err := s.Load(t.Context(), id, durable.LoadAll); err != nil {
				t.Fatalf("%s was acknowledged: got %v, want it", id, err)
			}
		}
		free()
		last := pending(fmt.Sprint("after-", round))
		create(t, s, last)
		acknowledged = append(acknowledged, last.ID)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	s = openAt(t, path)
	page, err := s.List(t.Context(), &durable.ListQuery{Limit: 20000})
	if err != nil || len(page.Heads) != len(acknowledged) {
		t.Errorf("after all: got %d executions, %v, want the %d acknowledged", len(page.Heads), err, len(acknowledged))
	}
}

func TestOpenOnFullDisk(t *testing.T) {
	dir := smallDisk(t, "size=1m")
	fill(t, dir, 0)
	_, err := Open(filepath.Join(dir, "clew.db"), Options{})
	wantBroken(t, err, dir, "disk", "full")
}

func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t, "size=8m")
	path := filepath.Join(dir, "clew.db")
	s := openAt(t, path)
	create(t, s, pending("a"))
	s.Close()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skip("needs the right to remount:", err)
	}
	_, err := Open(path, Options{})
	wantBroken(t, err, dir, "read-only")
	_, err = Open(filepath.Join(dir, "other.db"), Options{})
	wantBroken(t, err, dir, "read-only")
}

// readOnlyFile opens a store as a user who may read its file only.
func readOnlyFile(path string) error {
	if err := syscall.Setuid(65534); err != nil {
		return err
	}
	_, err := Open(path, Options{})
	fmt.Println(errors.Is(err, durable.ErrStoreBroken), err)
	return nil
}

func init() { roles["readonly"] = readOnlyFile }

func TestReadOnlyFile(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs to become another user")
	}
	dir, err := os.MkdirTemp("", "clew")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "clew.db")
	openAt(t, path).Close()
	p := start(t, "readonly", path)
	p.out.Scan()
	t.Log(p.out.Text())
	if got := p.out.Text(); !bytes.HasPrefix([]byte(got), []byte("true")) || !bytes.Contains([]byte(got), []byte("permission")) {
		t.Errorf("got %q, want ErrStoreBroken that speaks of permission", got)
	}
}
