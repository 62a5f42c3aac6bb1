package control

import (
	"time"

	"goaoe/internal/stats"
)

// Stats is GET /v1/stats: all counters. Counters only grow until they are cleared; rates are the difference of two replies.
type Stats struct {
	At         time.Time        `json:"at"`
	Since      time.Time        `json:"since"` // of the start, or of the last time everything was cleared
	Exports    []ExportStats    `json:"exports"`
	Interfaces []InterfaceStats `json:"interfaces"`
	Initiators []InitiatorStats `json:"initiators"`
	Lanes      []LaneStats      `json:"lanes"`
}

// ExportStats are the counters of one export.
type ExportStats struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"`
	State   string `json:"state"`
	stats.ExportSnapshot
}

// InterfaceStats are the counters of one interface.
type InterfaceStats struct {
	Name string `json:"name"`
	stats.PortSnapshot
}

// InitiatorStats are the counters of one initiator on one export.
type InitiatorStats struct {
	Export string `json:"export"`
	Name   string `json:"name,omitempty"` // of the initiator, from [hosts] or /etc/ethers
	stats.InitiatorSnapshot
}

// LaneStats are the counters of one lane.
type LaneStats struct {
	Lane int `json:"lane"`
	stats.LaneSnapshot
}
