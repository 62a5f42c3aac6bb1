// Package web is the page of a daemon: a small dashboard that a browser shows, served from the binary.
//
// The way of what is shown is
//
//	Backend (the daemon's loop) -> sampler (rates, histories, warnings) -> /api/... (JSON) -> assets/*.js in the browser
//
// All browsers share one sample of the daemon, so that ten open pages cost it no more than one. Serve also takes a sample when
// nobody looks, so that a fresh page shows the last quarter of an hour.
//
// The page has its own API, which is no interface for programs: it changes with the page. Programs use the API of package control.
//
// Reading needs nothing. Whatever changes something needs the token, in the header Authorization; there are no cookies, so that
// another site cannot make a browser send it. guard.go has all the rules for who may ask.
package web
