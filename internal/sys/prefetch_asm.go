//go:build amd64 || arm64

package sys

import "unsafe"

//go:noescape
func prefetch(p unsafe.Pointer, lines int)
