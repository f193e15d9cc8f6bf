package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/durable/durabletest"
	"github.com/clewdev/clew/saga/sagatest"
)

// world is an outside world in memory. It keeps the rules of the books, and notes
// what it is told.
type world struct {
	p sagatest.Participant

	mu        sync.Mutex
	began     time.Time
	day       time.Duration
	told      []string          // new effects and undos, in order, with the day
	callbacks map[string]string // of the last effect by kind
	seen      map[string]bool   // keys
	undone    map[string]bool
}

func newWorld(day time.Duration) *world {
	return &world{began: time.Now(), day: day, callbacks: map[string]string{}, seen: map[string]bool{}, undone: map[string]bool{}}
}

// Do implements outside.
func (w *world) Do(ctx context.Context, key string, e Effect) (string, error) {
	if !durabletest.Sleep(ctx, time.Millisecond) {
		return "", ctx.Err() // its process is dead
	}
	if e.Kind == kindLaptop && e.Text == discontinued {
		return "", fmt.Errorf("%w: laptop model %q is discontinued", errRefused, e.Text)
	}
	if err := w.p.Do(key, e.Kind, e); err != nil {
		return "", errors.Join(errRefused, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen[key] {
		w.seen[key] = true
		w.told = append(w.told, fmt.Sprintf("%.1f %s", float64(time.Since(w.began))/float64(w.day), e.Kind))
	}
	if e.Callback != "" {
		w.callbacks[e.Kind] = e.Callback
	}
	return e.Kind + " of " + e.Hire, nil
}

// Undo implements outside.
func (w *world) Undo(_ context.Context, forwardKey string) error {
	w.mu.Lock()
	w.undone[forwardKey] = true
	w.mu.Unlock()
	return w.p.Undo(forwardKey)
}

// Settle implements outside.
func (w *world) Settle(_ context.Context, key string) (string, bool, error) {
	return kindWelcome, w.p.Settle(key), nil
}

func (w *world) callback(kind string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.callbacks[kind]
}

// when are the days on which effects of a kind came.
func (w *world) when(kind string) (days []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.told {
		if day, what, _ := strings.Cut(line, " "); what == kind {
			days = append(days, day)
		}
	}
	return days
}

// rest is what stands of a hire, reminders apart.
func (w *world) rest(hire string) map[string]int {
	all := w.p.Of(hire)
	delete(all, kindReminder)
	return all
}

// one of each stands for who was welcomed.
func oneOfEach() map[string]int {
	all := map[string]int{}
	for _, kind := range kinds {
		all[kind] = 1
	}
	return all
}

// whole says what is wrong with what stands for a hire who was, or was not,
// welcomed.
func (w *world) whole(hire string, welcomed bool) error {
	want := map[string]int{}
	if welcomed {
		want = oneOfEach()
	}
	if got := w.rest(hire); !maps.Equal(got, want) {
		return fmt.Errorf("standing is %v, want %v", got, want)
	}
	return nil
}

var ada = Hire{ID: "ada", Name: "Ada", Email: "ada@home.example", Manager: "grace@example.com", Laptop: laptops[0]}

// post sends a form to a handler as browsers and providers do.
func post(h http.Handler, path string, form url.Values) *httptest.ResponseRecorder {
	return serveOne(h, newPost(path, form.Encode()))
}

func newPost(path, form string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	return serveOne(h, httptest.NewRequest(http.MethodGet, path, nil))
}

func serveOne(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answers are the ways in which a test's people answer, over the handler.
type answers struct {
	t testing.TB
	h http.Handler
	w *world
}

func over(t testing.TB, e *durable.Engine, w *world) answers { return answers{t, callbacks(e), w} }

func (a answers) say(step, kind, answer string) {
	path := linkOf(step, ada.ID, a.w.callback(kind))
	if got := post(a.h, path, url.Values{"answer": {answer}}); got.Code != http.StatusOK {
		a.t.Errorf("%s %s: status %d: %s", answer, step, got.Code, got.Body)
	}
}

func (a answers) provider(answer string) { a.say(stepCheck, kindCheck, answer) }
func (a answers) manager(answer string)  { a.say(stepApproval, kindRequest, answer) }
