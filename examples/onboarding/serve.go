package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// serve runs onboardings, and the page, until ctx ends.
func serve(ctx context.Context, cfg config, _ []string) error {
	listener, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return fmt.Errorf("%w: pass another -listen; any number of processes may share a -db", err)
	}
	d, closer, err := openDesk(ctx, cfg, true)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	page := "http://" + listener.Addr().String()
	if err := sayPage(ctx, cfg, d.books, page); err != nil {
		return errors.Join(err, listener.Close(), closer.Close())
	}
	fmt.Printf("onboarding: pid %d; a day takes %v; sagas in %s, the outside world in %s\n",
		os.Getpid(), cfg.day, cmp.Or(cfg.store, cfg.db), cmp.Or(cfg.books, booksPath(cfg.db)))
	fmt.Printf("onboarding: open %s\n", page)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told := cfg.env.TellRecent(ctx, d.engine.Store(), func(line string) { fmt.Fprintln(os.Stderr, "onboarding:", line) })
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
	err = errors.Join(err, <-ran)
	told()
	return errors.Join(err, closer.Close())
}

// sayPage tells the books where the links of mails lead: here, unless -url has
// another address, or somebody has told them one that is for others too.
func sayPage(ctx context.Context, cfg config, b records, here string) error {
	if cfg.url != "" || cfg.books == "" {
		return b.setPage(ctx, cmp.Or(cfg.url, here))
	}
	page, err := b.page(ctx)
	if page == "" && err == nil {
		err = b.setPage(ctx, here)
	}
	return err
}

// baseOf is what comes before the paths of links.
func baseOf(text string) (string, error) {
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "") {
		return "", fmt.Errorf("%q is no URL with which links could begin: want it as in https://onboarding.example.com", text)
	}
	return strings.TrimRight(text, "/"), nil // a function's URL ends with a slash
}

// openDesk opens the sagas and the books, and an engine over them. What is not
// there is made, or it is an error without create.
func openDesk(ctx context.Context, cfg config, create bool) (*desk, io.Closer, error) {
	store, closer, err := openStore(ctx, cfg, create)
	if err != nil {
		return nil, nil, err
	}
	b, err := openBooks(ctx, cfg, create)
	if err != nil {
		return nil, nil, errors.Join(err, closer.Close())
	}
	files := closers{b, closer}
	d, err := newDesk(store, deps{slowly(b, cfg.slow), cfg.day, cfg.slow}, b, durable.Options{DrainTimeout: 5 * time.Second, Lease: cfg.lease, Observer: cfg.env.Observer()})
	if err != nil {
		return nil, nil, errors.Join(err, files.Close())
	}
	return d, files, nil
}

// newDesk makes an engine that runs onboardings over a store, once its Run is
// called.
func newDesk(store durable.Store, on deps, b records, opts durable.Options) (*desk, error) {
	s, err := onboard(on)
	if err != nil {
		return nil, err
	}
	e, err := durable.New(store, opts)
	if err != nil {
		return nil, err
	}
	return &desk{engine: e, saga: s, books: b, day: on.day}, e.Register(s)
}

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
