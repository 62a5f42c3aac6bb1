//go:build !amd64 && !arm64

package sys

import "sync/atomic"

func storeRelease(p *uint32, v uint32) { atomic.StoreUint32(p, v) }
