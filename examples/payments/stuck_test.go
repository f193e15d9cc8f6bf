package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestStuck: orders whose stock the warehouse does not take back park, are
// listed, and are finished once it is mended and an operator has said so.
func TestStuck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clew := filepath.Join(dir, "clew")
	if out, err := exec.Command("go", "build", "-o", clew, "../../cmd/clew").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	operator := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(clew, append([]string{"--store", "sqlite:payments.db"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("clew %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	args := []string{"-orders", "60", "-stuck", "0.15"}
	p := start(t, dir, args...)
	if err := p.Wait(); err == nil || p.ProcessState.ExitCode() != 1 {
		t.Fatalf("exit code %d with orders that are parked, want 1: %s", p.ProcessState.ExitCode(), p.err.Bytes())
	}
	stuck := p.result(t)
	if stuck.Parked == 0 || stuck.MissingUndos != 2*stuck.Parked || stuck.DuplicateEffects != 0 || stuck.LedgerImbalanceCents != 0 {
		t.Fatalf("audit with -stuck: %+v", stuck)
	}
	if !strings.Contains(p.err.String(), "orders are parked and wait for a person: see `clew --store sqlite:payments.db ls --status parked`") {
		t.Errorf("it does not name the way out: %s", p.err.Bytes())
	}
	again := start(t, dir, args...)
	if err := again.Wait(); err == nil || again.result(t).Parked != stuck.Parked {
		t.Errorf("without an operator: %v, %s%s", err, again.out.Bytes(), again.err.Bytes())
	}

	ids := strings.Split(strings.TrimSpace(operator("ls", "--status", "parked", "--json")), "\n")
	if len(ids) != stuck.Parked {
		t.Errorf("clew lists %d parked orders, the audit %d", len(ids), stuck.Parked)
	}
	for _, line := range ids {
		var parked struct{ ID string }
		if err := json.Unmarshal([]byte(line), &parked); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		shown := operator("show", parked.ID)
		for _, want := range []string{"undo-failed", "shelf_jammed", "rejected / stuck", "retry " + parked.ID} {
			if !strings.Contains(shown, want) {
				t.Errorf("show does not say %q:\n%s", want, shown)
			}
		}
		operator("retry", parked.ID, "--reason", "the shelf is mended")
	}
	r := start(t, dir, append(args, "-mended")...).finish(t)
	r.clean(t, 60)
	if r.Parked != 0 {
		t.Errorf("%d orders are parked still", r.Parked)
	}
	if out := operator("ls", "--status", "parked"); !strings.Contains(out, "0 executions") {
		t.Errorf("parked still:\n%s", out)
	}
}

// TestWayOut: what the program prints for a person names each step of the way.
func TestWayOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(binary, "-orders", "20", "-stuck", "0.2")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("exit code 0 with orders that are parked")
	}
	for _, want := range []string{
		"is parked (undo-failed at \"reserve\")",
		"clew --store sqlite:payments.db ls --status parked\n", "clew --store sqlite:payments.db show order-0000",
		"clew --store sqlite:payments.db retry order-0000", "clew --store sqlite:payments.db skip order-0000", "-mended",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not print %q:\n%s", want, out)
		}
	}
}
