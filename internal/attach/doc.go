// Package attach makes an AoE disk usable on this machine without the kernel's aoe driver: as a block device through the kernel's
// NBD driver, or as an NBD server on a Unix socket. goaoe attach, detach and attached are its users.
//
// One process serves one disk. Where it is and how it does is asked over a socket in the run directory (Dir), see Call; a small file
// beside it says what the process left behind, should it die.
package attach
