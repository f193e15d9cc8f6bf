//go:build unix && !linux

package lambdalocal

import "syscall"

// attributes put a sandbox into a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// maxRSS is not to be had here.
func maxRSS(int) int64 { return 0 }
