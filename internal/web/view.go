package web

import (
	"time"

	"goaoe/internal/control"
)

// The types of the page's API. Times are Unix milliseconds, rates are per second over the last sample, latencies are microseconds.

// View is GET /api/view: what the page shows at a moment.
type View struct {
	At         int64           `json:"at"`
	Every      int64           `json:"every"` // milliseconds after which asking again makes sense
	Host       string          `json:"host"`
	Writable   bool            `json:"writable"` // there is a token; who has it may change things
	Status     *control.Status `json:"status"`
	Since      int64           `json:"since"` // of the counters
	Totals     Totals          `json:"totals"`
	Page       Page            `json:"page"`
	Exports    []Row           `json:"exports"` // of the page
	Interfaces []Port          `json:"interfaces"`
	Initiators []Peer          `json:"initiators"`
	// Peers is how many initiators there are; Initiators has at most maxPeers of them.
	Peers    int       `json:"peers"`
	Warnings []Warning `json:"warnings"`
}

// Totals are sums over everything.
type Totals struct {
	Exports  int            `json:"exports"`
	States   map[string]int `json:"states"`  // exports by state
	Sectors  uint64         `json:"sectors"` // of exports that are served
	Point    Point          `json:"point"`   // the newest of the history
	InFlight uint64         `json:"in_flight"`
	Queued   uint64         `json:"queued"`
}

// Page says which exports are in a View.
type Page struct {
	Number int `json:"number"` // from 1
	Size   int `json:"size"`
	Pages  int `json:"pages"` // at least 1
	Found  int `json:"found"` // exports that match
}

// Point is one moment of a history.
type Point struct {
	At       int64   `json:"t"`
	Read     float64 `json:"r"`  // bytes/s
	Write    float64 `json:"w"`  // bytes/s
	ReadOps  float64 `json:"ro"` // 1/s
	WriteOps float64 `json:"wo"` // 1/s
	Median   float64 `json:"p50"`
	P99      float64 `json:"p99"`
}

// Row is an export in the table.
type Row struct {
	Address  string   `json:"address"`
	Name     string   `json:"name,omitempty"`
	Source   string   `json:"source"`
	State    string   `json:"state"`
	Why      string   `json:"why,omitempty"`
	Sectors  uint64   `json:"sectors"`
	Served   []string `json:"served"`
	Users    int      `json:"users"`
	ReadOnly bool     `json:"read_only,omitempty"`
	Unsaved  bool     `json:"unsaved,omitempty"`
	Now      Point    `json:"now"`
	InFlight uint64   `json:"in_flight"`
	Errors   uint64   `json:"errors"` // storage errors since Since
}

// Port is an interface.
type Port struct {
	control.Interface
	Rx      float64 `json:"rx"` // bytes/s
	Tx      float64 `json:"tx"`
	RxOps   float64 `json:"rx_ops"` // frames/s
	TxOps   float64 `json:"tx_ops"`
	Dropped uint64  `json:"dropped"` // frames lost in the receive ring since Since
}

// Peer is an initiator, with all exports that it talks to.
type Peer struct {
	MAC         string   `json:"mac"`
	Name        string   `json:"name,omitempty"`
	Interface   string   `json:"interface,omitempty"`
	Exports     []string `json:"exports"` // at most maxPeerExports
	More        int      `json:"more,omitempty"`
	Read        float64  `json:"r"`
	Write       float64  `json:"w"`
	Ops         float64  `json:"ops"`
	Requests    uint64   `json:"requests"`
	Retransmits uint64   `json:"retransmits"`
	Denied      uint64   `json:"denied"`
	Errors      uint64   `json:"errors"`
	LastSeen    int64    `json:"last_seen"`
}

// Detail is GET /api/exports/ADDRESS.
type Detail struct {
	Export  control.Export `json:"export"`
	Row     Row            `json:"row"`
	Queue   [3]uint64      `json:"queue"` // on the storage, waiting, limit
	Peers   []Peer         `json:"peers"` // counters for this export alone
	Counts  []Count        `json:"counts"`
	History []Point        `json:"history"`
}

// Count is a counter in words.
type Count struct {
	Label string `json:"label"`
	N     uint64 `json:"n"`
	Bytes bool   `json:"bytes,omitempty"` // it counts bytes
}

// Levels of a Warning.
const (
	LevelProblem = "problem" // something does not work
	LevelWarning = "warning" // it works, and is slower or less safe than it should be
	LevelNote    = "note"
)

// Warning is a finding in plain words.
type Warning struct {
	ID      string `json:"id"` // stays the same while the finding does, whatever its numbers
	Level   string `json:"level"`
	Subject string `json:"subject,omitempty"` // an address, an interface or an initiator
	Text    string `json:"text"`
	Fix     string `json:"fix,omitempty"` // what to do
}

// Bounds of a View.
const (
	maxPeers       = 500
	maxPeerExports = 20
	maxPageSize    = 200
)

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
