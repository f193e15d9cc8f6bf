package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/sqlite"
)

// serve runs onboardings, and the page, until ctx ends.
func serve(ctx context.Context, cfg config, _ []string) error {
	listener, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return fmt.Errorf("%w: pass another -listen; any number of processes may share a -db", err)
	}
	d, closer, err := openDesk(cfg)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	page := "http://" + listener.Addr().String()
	if _, err := d.books.page(ctx, page); err != nil {
		return errors.Join(err, listener.Close(), closer.Close())
	}
	fmt.Printf("onboarding: pid %d; a day takes %v; sagas in %s, the outside world in %s\n", os.Getpid(), cfg.day, cfg.db, booksPath(cfg.db))
	fmt.Printf("onboarding: open %s\n", page)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() {
		defer stop()
		ran <- d.engine.Run(ctx)
	}()
	server := &http.Server{Handler: d.pages(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() {
		defer stop()
		served <- server.Serve(listener)
	}()
	<-ctx.Done()
	polite, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = server.Shutdown(polite)
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, <-ran, closer.Close())
}

// openDesk opens the two files, or makes them, and an engine over them.
func openDesk(cfg config) (*desk, io.Closer, error) {
	store, err := sqlite.Open(cfg.db, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	b, err := openBooks(booksPath(cfg.db))
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	files := closers{b, store}
	d, err := newDesk(store, slowly(b, cfg.slow), b, cfg.day, durable.Options{DrainTimeout: 5 * time.Second})
	if err != nil {
		return nil, nil, errors.Join(err, files.Close())
	}
	return d, files, nil
}

// newDesk makes an engine that runs onboardings over a store, once its Run is
// called.
func newDesk(store durable.Store, world outside, b records, day time.Duration, opts durable.Options) (*desk, error) {
	s, err := onboard(deps{outside: world, day: day})
	if err != nil {
		return nil, err
	}
	e, err := durable.New(store, opts)
	if err != nil {
		return nil, err
	}
	return &desk{engine: e, saga: s, books: b, day: day}, e.Register(s)
}

// booksPath is where the outside world is, beside the sagas.
func booksPath(db string) string { return strings.TrimSuffix(db, ".db") + "-outside.db" }

type closers []io.Closer

func (c closers) Close() (err error) {
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}

// slow is an outside world that takes its time.
type slow struct {
	outside
	takes time.Duration
}

func slowly(o outside, takes time.Duration) outside {
	if takes == 0 {
		return o
	}
	return slow{o, takes}
}

func (s slow) Do(ctx context.Context, key string, e Effect) (string, error) {
	select {
	case <-time.After(s.takes):
		return s.outside.Do(ctx, key, e)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (s slow) Undo(ctx context.Context, forwardKey string) error {
	select {
	case <-time.After(s.takes):
		return s.outside.Undo(ctx, forwardKey)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
