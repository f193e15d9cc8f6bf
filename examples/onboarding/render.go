package main

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

//go:embed pages.html
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{"link": linkOf, "ask": askOf}).ParseFS(files, "pages.html"))

// asked is what the buttons of a question need.
type asked struct{ Step, Hire, Callback string }

func askOf(step, hireID, callbackID string) asked { return asked{step, hireID, callbackID} }

// page is what a template shows.
type page struct {
	Status  int // of HTTP
	Title   string
	Text    string
	Refresh bool // every two seconds
	Back    string
	Data    any
}

// backOf is the page of the desk that a form was on, "" for whoever came by a mail.
func backOf(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host || u.Path != "/" && !strings.HasPrefix(u.Path, "/hires/") {
		return ""
	}
	return u.Path
}

// show writes a page, whole or not at all.
func show(w http.ResponseWriter, template string, p page) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, template, p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(p.Status)
	_, _ = w.Write(b.Bytes()) // who has gone needs no page
}

// safely keeps links, which are secrets, out of caches and away from other sites,
// and other sites from posting our forms and framing our pages.
func safely(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, v := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
		} {
			w.Header().Set(name, v)
		}
		next.ServeHTTP(w, r)
	})
}
