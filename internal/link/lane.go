package link

import "goaoe/aoe"

// LaneOf returns which of an interface's lanes (0 to lanes-1) gets the frames that are sent to a. Everybody who steers or
// expects frames uses this rule: an address with a wildcard in either half goes to lane 0, any other to the sum
// of its halves modulo the number of lanes, so that both neighbouring slots and neighbouring shelves spread.
func LaneOf(a aoe.Addr, lanes int) int {
	if lanes <= 1 || a.Wild() {
		return 0
	}
	return (int(a.Major) + int(a.Minor)) % lanes
}
