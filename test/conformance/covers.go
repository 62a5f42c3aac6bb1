// Package conformance ties tests to the numbered items of the conformance list (C1, C2, ...): the frames and situations
// that a target has to get right. A test names the items it shows; a test of the sources collects those names and fails
// when an item has no test.
package conformance

import (
	"regexp"
	"strings"
	"testing"
)

var number = regexp.MustCompile(`^C[1-9][0-9]{0,2}$`)

// Covers says that the running test shows the items with these numbers. They have to be string literals ("C118") in the
// call, as the table of items is collected from the sources and not from a run. At run time it only writes them to the
// test's log, so that a failure tells which promise is broken; something that is not a number of an item fails the test.
func Covers(t testing.TB, items ...string) {
	t.Helper()
	for _, i := range items {
		if !number.MatchString(i) {
			t.Fatalf("conformance.Covers: %q is not a number of the list, such as \"C118\"", i)
		}
	}
	t.Logf("covers: %s", strings.Join(items, " "))
}
