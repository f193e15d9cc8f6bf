package lambdahost

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// pinOf is how a published version of a function names itself as a host: its
// number, and a digest of the function's name, because functions that share a
// table count their versions each for itself.
func pinOf(function, version string) string {
	sum := sha256.Sum256([]byte(function))
	return version + pinSeparator + hex.EncodeToString(sum[:3])
}

const pinSeparator = "~"

// versionOf is the version of this function that a pin names; "" if it names
// none: nobody, a worker, or a version of another function.
func (h *Host) versionOf(pin string) string {
	version, _, ok := strings.Cut(pin, pinSeparator)
	if !ok || pin != pinOf(h.opts.Function, version) {
		return ""
	}
	return version
}

// elsewhere tells whether a pin names a version of another function.
func (h *Host) elsewhere(pin string) bool {
	return strings.Contains(pin, pinSeparator) && h.versionOf(pin) == ""
}

// pinned is the pin that wake-ups from here carry.
func (h *Host) pinned() *string {
	if h.opts.Unpinned {
		return aws.String("")
	}
	return aws.String(pinOf(h.opts.Function, h.opts.Version))
}

// foreign is the version of this function that has the execution, if that is
// another than this one; else "".
func (r *resume) foreign(h *Host) string {
	if h.opts.Unpinned || r.Pin == nil {
		return ""
	}
	if version := h.versionOf(*r.Pin); version != h.opts.Version {
		return version
	}
	return ""
}
