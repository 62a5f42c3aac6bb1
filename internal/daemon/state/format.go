package state

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"goaoe/aoe"
)

// Limits of what a state file can hold; they are those of the protocol.
const (
	maxConfig = 1024    // bytes of a config string
	maxMACs   = 255     // entries of a list: its length is one byte on the wire
	maxFile   = 1 << 16 // bytes of a file: the longest possible state is well below
)

const (
	formatName    = "goaoe-state"
	formatVersion = 1
)

// file is the form of a state file: JSON that a person can read, and edit when the daemon is stopped.
//
// The config string is text where it is printable ASCII, else base64. The checksum is over the file without that line's value; a
// person who edits the file removes the line.
type file struct {
	Format   string   `json:"format"`
	Version  int      `json:"version"`
	Address  string   `json:"address"`
	Text     *string  `json:"config-string,omitempty"`
	Base64   *string  `json:"config-string-base64,omitempty"`
	Mask     []string `json:"mask"`
	Reserve  []string `json:"reserve"`
	Checksum string   `json:"checksum,omitempty"`
}

// castagnoli is the polynomial that has instructions on current processors; any good one would do.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum returns the checksum of a file: CRC-32C over its compact JSON without the checksum.
func (f file) sum() string {
	f.Checksum = ""
	b, err := json.Marshal(f)
	if err != nil {
		return "" // strings and numbers always marshal; an empty sum matches no file
	}
	return fmt.Sprintf("crc32c:%08x", crc32.Checksum(b, castagnoli))
}

// encode returns the content of the state file of a.
func encode(a aoe.Addr, s State) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	f := file{Format: formatName, Version: formatVersion, Address: strings.TrimPrefix(a.String(), "e"),
		Mask: macStrings(s.Mask), Reserve: macStrings(s.Reserve)}
	if text := string(s.Config); printable(text) {
		f.Text = &text
	} else {
		b64 := base64.StdEncoding.EncodeToString(s.Config)
		f.Base64 = &b64
	}
	f.Checksum = f.sum()
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// decode reads what encode wrote. Anything that it does not fully understand is an error: a list that is lost by
// accident would turn into "everybody may".
func decode(a aoe.Addr, data []byte) (State, error) {
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return State{}, describe(data, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return State{}, errors.New("there is something behind the end of the state")
	}
	switch {
	case f.Format != formatName:
		return State{}, fmt.Errorf("format is %q, not %q", f.Format, formatName)
	case f.Version != formatVersion:
		return State{}, fmt.Errorf("version is %d; this goaoe knows version %d", f.Version, formatVersion)
	case f.Checksum != "" && f.Checksum != f.sum():
		return State{}, fmt.Errorf("checksum is %s and should be %s (after editing by hand remove the checksum line)", f.Checksum, f.sum())
	}
	if got, err := aoe.ParseAddr(f.Address); err != nil {
		return State{}, err
	} else if got != a {
		return State{}, fmt.Errorf("it is the state of %v", got)
	}
	var s State
	var err error
	switch {
	case f.Text != nil && f.Base64 != nil:
		return State{}, errors.New("config-string and config-string-base64 are both there")
	case f.Text != nil:
		s.Config = []byte(*f.Text)
	case f.Base64 != nil:
		if s.Config, err = base64.StdEncoding.DecodeString(*f.Base64); err != nil {
			return State{}, fmt.Errorf("config-string-base64: %w", err)
		}
	default:
		return State{}, errors.New("config-string is missing")
	}
	if f.Mask == nil || f.Reserve == nil {
		return State{}, errors.New("mask or reserve is missing (an empty list is written as [])")
	}
	if s.Mask, err = parseMACs("mask", f.Mask); err != nil {
		return State{}, err
	}
	if s.Reserve, err = parseMACs("reserve", f.Reserve); err != nil {
		return State{}, err
	}
	return s, s.check()
}

// describe makes the usual damages readable.
func describe(data []byte, err error) error {
	switch {
	case len(data) == 0:
		return errors.New("the file is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the file ends too early")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

func (s State) check() error {
	switch {
	case len(s.Config) > maxConfig:
		return fmt.Errorf("the config string has %d bytes, more than %d", len(s.Config), maxConfig)
	case len(s.Mask) > maxMACs:
		return fmt.Errorf("the mask has %d addresses, more than %d", len(s.Mask), maxMACs)
	case len(s.Reserve) > maxMACs:
		return fmt.Errorf("the reserve list has %d addresses, more than %d", len(s.Reserve), maxMACs)
	}
	return nil
}

func macStrings(list []aoe.MAC) []string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = m.String()
	}
	return out
}

func parseMACs(what string, list []string) ([]aoe.MAC, error) {
	out := make([]aoe.MAC, len(list))
	for i, s := range list {
		m, err := aoe.ParseMAC(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		out[i] = m
	}
	return out, nil
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
