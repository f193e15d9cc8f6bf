package dynamo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/mutant"
)

// TestMutants: the third rule of log.go, the notice, is a promise of every
// Store, so it is storetest that notices when it is missing. The other two need
// a fleet, in internal/faultsuite.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the store once per mutant; -short leaves that out")
	}
	overlay := mutant.Overlay(t, "../..", mutant.Change{File: "store/dynamo/deliver.go",
		Old: "	return s.notify(ctx, h, h.Delivered)\n", New: "	return nil\n"})
	binary := filepath.Join(t.TempDir(), "mutant.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "-overlay", overlay, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestStoreAppends$/^NoLostWakeup$")
	cmd.Env = append(os.Environ(), dynamolocal.EndpointVar+"="+dynamolocal.Endpoint(t))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL: TestStoreAppends/NoLostWakeup/IfSeen") {
		t.Errorf("without the notice: got %v, want NoLostWakeup/IfSeen to fail\n%s", err, out)
	}
}
