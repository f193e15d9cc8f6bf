package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// desk is where people see what goes on and start more of it: an engine, which
// need not be one that runs sagas, and what was done outside.
type desk struct {
	engine *durable.Engine
	saga   *saga.Saga[Hire, Welcome]
	books  records
	day    time.Duration
}

// records are what the desk needs of the outside world; its books have them.
type records interface {
	// all returns what was done so far, oldest first, and not the tombstones.
	all(ctx context.Context) ([]entry, error)
	// page returns with what the links of mails begin, "" if nobody has said it.
	page(ctx context.Context) (string, error)
	// setPage says it.
	setPage(ctx context.Context, url string) error
}

// hire starts an onboarding. The ID is made of the name, so that asking twice is
// asking once; it is durable.ErrExists when somebody of that name was hired with
// another manager or laptop.
func (d *desk) hire(ctx context.Context, h Hire) (Hire, error) {
	h.ID = slug(h.Name)
	if h.ID == "" || len(h.ID) > 100 {
		return h, fmt.Errorf("%w: a name needs letters or digits, and has up to 100 bytes", errHire)
	}
	h.Email = h.ID + "@home.example"
	if err := h.check(); err != nil {
		return h, err
	}
	_, err := d.saga.Start(ctx, d.engine, h.ID, h)
	return h, err
}

// slug makes an ID for links and command lines of a name.
func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "-")
}

// open is the question of a step that a hire waits at, if there is one.
func open(rec *durable.Record, step string) (question, bool) {
	all := questions(rec)
	i := slices.IndexFunc(all, func(q question) bool { return q.State == isOpen && (step == "" || q.Step == step) })
	if i < 0 {
		return question{}, false
	}
	return all[i], true
}

// row is a hire in the list.
type row struct {
	Hire   Hire
	Status saga.Status
	Parked bool
	Waits  question // for which answer; the zero value for none
}

// pageSize is how many hires a page lists.
const pageSize = 50

// rows list hires by ID from cursor on, and the cursor of the next page.
func (d *desk) rows(ctx context.Context, cursor string) (rows []row, next string, err error) {
	list, err := d.engine.Store().List(ctx, &durable.ListQuery{Definition: d.saga.Name(), Limit: pageSize, Cursor: cursor})
	if err != nil {
		return nil, "", err
	}
	for i := range list.Heads {
		h, rec, err := load(ctx, d.engine, list.Heads[i].ID)
		if err != nil {
			return nil, "", err
		}
		r := row{Hire: h, Status: saga.StatusOf(&rec.Head), Parked: rec.Status == durable.StatusParked}
		r.Waits, _ = open(rec, "")
		rows = append(rows, r)
	}
	return rows, list.Next, nil
}

// pages are the local page: all hires, the outbox, the identity provider's desk,
// and each hire's timeline, over the handler that answers questions. Only who may
// see everybody's mails should reach them.
func (d *desk) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.home)
	mux.HandleFunc("GET /new", d.form)
	mux.HandleFunc("POST /hires", d.start)
	mux.HandleFunc("GET /hires/{hire}", d.one)
	mux.HandleFunc("POST /hires/{hire}/cancel", d.cancel)
	mux.Handle("/", callbacks(d.engine))
	return safely(mux)
}

func (d *desk) home(w http.ResponseWriter, r *http.Request) {
	rows, next, err := d.rows(r.Context(), r.URL.Query().Get("after"))
	entries, err2 := d.books.all(r.Context())
	if err := errors.Join(err, err2); err != nil {
		failed(w, err)
		return
	}
	slices.Reverse(entries)
	mails := slices.DeleteFunc(entries, func(e entry) bool { return e.To == "" })
	cases := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Waits.Step != stepCheck })
	show(w, "home", page{Status: http.StatusOK, Title: "Onboarding", Refresh: true, Data: map[string]any{
		"Hires": rows, "Next": next, "Mails": mails[:min(len(mails), pageSize)], "Cases": cases,
	}})
}

func (d *desk) form(w http.ResponseWriter, _ *http.Request) {
	show(w, "new", page{Status: http.StatusOK, Title: "Hire somebody", Data: laptops})
}

func (d *desk) start(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	h, err := d.hire(r.Context(), Hire{Name: r.PostFormValue("name"), Manager: r.PostFormValue("manager"), Laptop: r.PostFormValue("laptop")})
	switch {
	case errors.Is(err, errHire):
		show(w, "answer", page{Status: http.StatusBadRequest, Title: "This cannot be", Text: err.Error()})
	case errors.Is(err, durable.ErrExists):
		show(w, "answer", page{Status: http.StatusConflict, Title: h.Name + " is there already", Text: "Somebody of this name was hired with another manager or laptop."})
	case err != nil:
		failed(w, err)
	default:
		http.Redirect(w, r, "/hires/"+h.ID, http.StatusSeeOther)
	}
}

func (d *desk) one(w http.ResponseWriter, r *http.Request) {
	h, rec, err := load(r.Context(), d.engine, r.PathValue("hire"))
	if err != nil {
		failed(w, err)
		return
	}
	q, waits := open(rec, "")
	show(w, "hire", page{Status: http.StatusOK, Title: h.Name, Refresh: !rec.Status.Ended(), Data: map[string]any{
		"Hire": h, "Status": saga.StatusOf(&rec.Head), "Park": rec.Park, "Ended": rec.Status.Ended(), "Waits": waits, "Question": q,
		"Timeline": timeline(rec, d.day),
	}})
}

// cancel stops an onboarding: it unwinds, unless the welcome may have been sent.
func (d *desk) cancel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("hire")
	err := d.engine.Cancel(r.Context(), id, "page", "stopped on the page")
	if err != nil && !errors.Is(err, durable.ErrDelivered) && !errors.Is(err, durable.ErrEnded) {
		failed(w, err)
		return
	}
	http.Redirect(w, r, "/hires/"+id, http.StatusSeeOther)
}

func failed(w http.ResponseWriter, err error) {
	if errors.Is(err, durable.ErrNotFound) {
		show(w, "answer", page{Status: http.StatusNotFound, Title: "Nobody of this name is being hired"})
		return
	}
	show(w, "answer", page{Status: http.StatusServiceUnavailable, Title: "This did not work", Text: "Please try again in a moment: " + err.Error()})
}
