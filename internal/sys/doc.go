// Package sys is the thin layer over the kernel: memory outside of the Go heap, io_uring, packet rings. It is the only package
// with unsafe pointers and with system calls that golang.org/x/sys does not wrap. It knows nothing of AoE or of storage.
package sys
