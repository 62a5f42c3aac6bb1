package control

import (
	"errors"
	"fmt"
	"net/http"
)

// Code says what kind of error a call ended with. Programs decide by it; the message is for people.
type Code string

// The codes, the HTTP status and the exit status of the commands that they lead to.
const (
	CodeUsage    Code = "usage"     // 400, 2: the request itself is wrong: unknown field, bad address, unknown setting, bad value
	CodeNotFound Code = "not-found" // 404, 1: no such export, interface or path
	CodeConflict Code = "conflict"  // 409, 12: the address is taken, or somebody else changed the export meanwhile (revision)
	CodeInUse    Code = "in-use"    // 409, 11: initiators use the export; force does it all the same
	CodeRefused  Code = "refused"   // 403, 11: not allowed (permission, token, read-only listener)
	CodeFailed   Code = "failed"    // 500, 1: it was tried and failed
	CodeGone     Code = "gone"      // 503, 10: the daemon ends, or does not answer
)

// Status returns the HTTP status of a code.
func (c Code) Status() int {
	switch c {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict, CodeInUse:
		return http.StatusConflict
	case CodeRefused:
		return http.StatusForbidden
	case CodeGone:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Error is an error of the API: {"error": {"code": ..., "message": ..., "hint": ...}}.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`        // what is wrong, with the offending value
	Hint    string `json:"hint,omitempty"` // what to do
}

// Error implements error: the message, and the hint behind a semicolon.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Errorf makes an Error.
func Errorf(code Code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...)}
}

// WithHint adds what to do.
func (e *Error) WithHint(hint string) *Error {
	e.Hint = hint
	return e
}

// AsError returns err as an *Error; one of another kind gets CodeFailed. nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeFailed, Message: err.Error()}
}
