package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// journal is the file that says how far a copy is. Done counts only what the destination has brought to stable storage.
type journal struct {
	path string

	Version     int       `json:"goaoe_copy"`
	Source      string    `json:"source"`
	Destination string    `json:"destination"`
	From        int64     `json:"from"`
	To          int64     `json:"to"`
	End         int64     `json:"end"`
	Done        int64     `json:"done"` // bytes from From on
	Written     time.Time `json:"written"`
}

// lookBack is how much in front of where a copy is gone on with must be as in the source.
const lookBack = 8 << 20

// openJournal makes the journal or, to resume, reads it. nil without one.
func (c *copier) openJournal(ctx context.Context) (*journal, error) {
	if c.o.Journal == "" {
		return nil, nil
	}
	j := &journal{path: c.o.Journal, Version: 1, Source: c.src.ID(), Destination: c.dst.ID(), From: c.o.From, To: c.o.To, End: c.end}
	text, err := os.ReadFile(j.path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("journal: %w", err)
	case err != nil && c.o.Resume:
		return nil, fmt.Errorf("journal %s does not exist: there is nothing to resume by it; without --journal --resume compares what is there", j.path)
	case err == nil && !c.o.Resume:
		return nil, fmt.Errorf("journal %s exists: --resume goes on with its copy; remove it to begin anew", j.path)
	case err == nil:
		if err := c.match(ctx, j, text); err != nil {
			return nil, err
		}
		return j, nil
	}
	return j, j.save()
}

// match takes over how far the copy of a journal is, if it is of this one.
func (c *copier) match(ctx context.Context, j *journal, text []byte) error {
	var old journal
	if err := json.Unmarshal(text, &old); err != nil || old.Version != 1 {
		return fmt.Errorf("%s is no journal of goaoe copy: %w", j.path, errors.Join(err, fmt.Errorf("version %d", old.Version)))
	}
	differs := func(what string, was, is any) error {
		return fmt.Errorf("journal %s is of another copy: its %s is %v, now it is %v; without --journal --resume compares what is there", j.path, what, was, is)
	}
	switch {
	case old.Source != j.Source:
		return differs("source", old.Source, j.Source)
	case old.Destination != j.Destination:
		return differs("destination", old.Destination, j.Destination)
	case old.From != j.From || old.To != j.To || old.End != j.End:
		return differs("range", fmt.Sprintf("%d to %d at %d", old.From, old.End, old.To), fmt.Sprintf("%d to %d at %d", j.From, j.End, j.To))
	case old.Done < 0 || old.Done > j.End-j.From:
		return fmt.Errorf("journal %s is damaged: %d of %d bytes are done", j.path, old.Done, j.End-j.From)
	}
	j.Done = old.Done
	// What was done last must be there.
	a, b := make([]byte, chunkSize), make([]byte, chunkSize)
	for off := max(j.Done-lookBack, 0) / c.unit * c.unit; off < j.Done; {
		n := min(chunkSize, j.Done-off)
		if err := c.src.ReadAt(ctx, a[:n], c.o.From+off); err != nil {
			return fmt.Errorf("reading %s at %d: %w", c.src.Name(), c.o.From+off, err)
		}
		full := n
		if odd := n % c.unit; odd != 0 {
			full += c.unit - odd
			clear(a[n:full])
		}
		if err := c.dst.Reread(ctx, b[:full], c.o.To+off); err != nil {
			return fmt.Errorf("reading %s at %d: %w", c.dst.Name(), c.o.To+off, err)
		}
		if !bytes.Equal(a[:full], b[:full]) {
			return fmt.Errorf("%s does not hold what journal %s says: something else was written to it, or source and destination changed; without --journal --resume compares what is there",
				c.dst.Name(), j.path)
		}
		off += n
	}
	return nil
}

// save writes the journal so that after a crash there is the old one or the new one.
func (j *journal) save() error {
	j.Written = time.Now().UTC()
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(j.path), filepath.Base(j.path)+".*")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it may have its new name
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func (j *journal) remove() error { return os.Remove(j.path) }

// mark brings what is done to stable storage and writes that down.
func (c *copier) mark(ctx context.Context, j *journal) error {
	done := c.done.prefix() - c.o.From // before the flush: what is done during it is not covered
	if done <= j.Done {
		return nil
	}
	if _, err := c.dst.Flush(ctx); err != nil {
		return fmt.Errorf("bringing %s to stable storage: %w", c.dst.Name(), err)
	}
	j.Done = done
	return j.save()
}

// keepJournal marks how far the copy is every now and then, until the returned function is called.
func (c *copier) keepJournal(ctx context.Context, j *journal, cancel context.CancelCauseFunc) (stop func()) {
	if j == nil {
		return func() {}
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			case <-time.After(checkpoint):
			}
			if err := c.mark(ctx, j); err != nil {
				cancel(err)
				return
			}
		}
	}()
	return func() { close(over); <-done }
}

// lastCheckpoint saves what a copy that failed has done. Its own failure changes nothing: the older mark counts.
func (c *copier) lastCheckpoint(j *journal) {
	if j == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	_ = c.mark(ctx, j)
}
