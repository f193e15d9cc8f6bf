package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
)

// binary is the example as a user would run it, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "onboarding")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "onboarding")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} { // of a DynamoDB that takes any
		if err := os.Setenv(name, "local"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// server is a process that serves.
type server struct {
	*exec.Cmd
	url string
	err said
}

// said is what a process has said, also while it runs.
type said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// start starts one in dir, on a port of its own, and returns once it listens.
func start(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{Cmd: exec.Command(binary, append([]string{"-listen", "127.0.0.1:0"}, args...)...)}
	s.Dir, s.Stderr = dir, &s.err
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "open "); ok {
			s.url = url
			return s
		}
	}
	s.kill()
	t.Fatalf("it does not serve: %s", s.err.String())
	return nil
}

// kill kills it, unless it has ended.
func (s *server) kill() {
	if s.ProcessState == nil {
		_ = s.Process.Kill()
		_ = s.Wait() // a killed process ends with an error
	}
}

// cli runs a command, and returns what it printed and how it ended.
func cli(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// does is cli for what has to go well.
func does(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := cli(t, dir, args...)
	if err != nil {
		t.Fatalf("onboarding %q: %v: %s", args, err, out)
	}
	return out
}

// eventually asks until what is asked says what it should.
func eventually(t *testing.T, says string, ask func() string) string {
	t.Helper()
	got := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = ask(); strings.Contains(got, says) {
			return got
		}
	}
	t.Fatalf("it never says %q; in the end:\n%s", says, got)
	return ""
}

func (s *server) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return read(t)(http.Get(s.url + path))
}

func (s *server) post(t *testing.T, path string, form url.Values) (int, string) {
	t.Helper()
	return read(t)(http.PostForm(s.url+path, form))
}

func read(t *testing.T) func(*http.Response, error) (int, string) {
	return func(r *http.Response, err error) (int, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
}

// TestByCommands: a visit on the command line.
func TestByCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	does(t, dir, "hire", "Ada Lovelace", "-manager", "ada@example.com")
	does(t, dir, "hire", "Ada Lovelace", "-manager", "ada@example.com") // asking twice is asking once
	does(t, dir, "hire", "-laptop", discontinued, "Bob")
	does(t, dir, "hire", "Cy")
	for _, id := range []string{"ada-lovelace", "bob", "cy"} {
		eventually(t, "is confirmed", func() string { out, _ := cli(t, dir, "identity", "pass", id); return out })
	}
	mails := eventually(t, "Please approve that Ada Lovelace joins", func() string { return does(t, dir, "mails") })
	if !strings.Contains(mails, "to ada@example.com") || !strings.Contains(mails, "  "+s.url+"/approvals/") {
		t.Errorf("the mails have no link to %s:\n%s", s.url, mails)
	}
	for _, id := range []string{"ada-lovelace", "bob"} {
		eventually(t, "is approved", func() string { out, _ := cli(t, dir, "approve", id); return out })
	}
	eventually(t, "is refused", func() string { out, _ := cli(t, dir, "refuse", "cy", "-by", "Grace", "-reason", "no desk"); return out })
	list := eventually(t, "committed", func() string {
		out := does(t, dir, "hires")
		if strings.Count(out, "complete") < 2 {
			return ""
		}
		return out
	})
	if !regexp.MustCompile(`bob +│ rejected +│ complete`).MatchString(list) {
		t.Errorf("bob's laptop is discontinued:\n%s", list)
	}
	if out := does(t, dir, "audit"); !strings.Contains(out, "1 all done, 2 all undone, 0 under way, 0 parked, 0 BROKEN") {
		t.Errorf("audit:\n%s", out)
	}
	if out, err := cli(t, dir, "approve", "cy"); err == nil || !strings.Contains(out, "refused by Grace: no desk") {
		t.Errorf("a second mind on the command line: %v, %s", err, out)
	}
	if out := does(t, dir, "mails"); !strings.Contains(out, "Cy joins.\n  withdrawn") {
		t.Errorf("Cy's manager was not told:\n%s", out)
	}
}

// TestByPage: a visit by the page, with what is wrong on it.
func TestByPage(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	if status, body := s.get(t, "/"); status != http.StatusOK || !strings.Contains(body, "Nobody yet") {
		t.Errorf("an empty list: %d %s", status, body)
	}
	if status, body := s.get(t, "/new"); status != http.StatusOK || !strings.Contains(body, `action="/hires"`) {
		t.Errorf("the form: %d %s", status, body)
	}
	form := url.Values{"name": {`Eve <script>alert("1")</script>`}, "manager": {"grace@example.com"}, "laptop": {laptops[1]}}
	status, body := s.post(t, "/hires", form) // and follows to the hire's page
	if status != http.StatusOK || strings.Contains(body, "<script>") || !strings.Contains(body, "Eve &lt;script&gt;") {
		t.Errorf("a name is shown as it is: %d %s", status, body)
	}
	form.Set("laptop", laptops[0])
	if status, body := s.post(t, "/hires", form); status != http.StatusConflict || !strings.Contains(body, "is there already") {
		t.Errorf("the same name with another laptop: %d %s", status, body)
	}
	hire := "/hires/" + slug(form.Get("name"))
	action := regexp.MustCompile(`action="(/(?:identity|approvals)/[^"]+)"`)
	ask := func() string { _, body := s.get(t, hire); return body }
	check := action.FindStringSubmatch(eventually(t, `value="pass"`, ask))[1]
	for _, c := range []struct {
		answer string
		status int
		says   string
	}{{"working", http.StatusOK, "goes on"}, {"maybe", http.StatusBadRequest, "pass, fail or working"}, {"pass", http.StatusOK, "confirmed"}} {
		if status, body := s.post(t, check, url.Values{"answer": {c.answer}}); status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", c.answer, status, body)
		}
	}
	approval := action.FindStringSubmatch(eventually(t, `value="approve"`, ask))[1]
	if _, body := s.get(t, "/"); !strings.Contains(body, `<a href="`+approval+`">Answer</a>`) {
		t.Errorf("the outbox has no link %s: %s", approval, body)
	}
	if status, body := s.get(t, approval); status != http.StatusOK || !strings.Contains(body, `value="refuse"`) {
		t.Errorf("the manager's page: %d %s", status, body)
	}
	if status, body := s.post(t, approval, url.Values{"answer": {"approve"}, "by": {"Grace"}}); status != http.StatusOK || !strings.Contains(body, "is approved") {
		t.Errorf("approved: %d %s", status, body)
	}
	page := eventually(t, `id="forward">committed`, ask)
	for _, says := range []string{"account: done", "identity check: answered", "approval: asked", "by Grace", "laptop: done", "point of no return", "welcomed"} {
		if !strings.Contains(page, says) {
			t.Errorf("the timeline does not say %q: %s", says, page)
		}
	}
	if status, body := s.post(t, approval, url.Values{"answer": {"refuse"}}); status != http.StatusConflict || !strings.Contains(body, "approved by Grace") {
		t.Errorf("a second click: %d %s", status, body)
	}
	if status, _ := s.post(t, hire+"/cancel", nil); status != http.StatusOK {
		t.Errorf("stopped too late: %d", status)
	}
	for _, path := range []string{approval[:len(approval)-3] + "AAA", "/hires/nobody", "/nothing"} {
		if status, _ := s.get(t, path); status != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, status)
		}
	}
	for _, bad := range []url.Values{{}, {"name": {"Bob"}, "manager": {"nobody"}, "laptop": {laptops[0]}}, {"name": {"Bob"}, "manager": {"a@b"}, "laptop": {"abacus"}}, {"name": {"!!"}, "manager": {"a@b"}, "laptop": {laptops[0]}}} {
		if status, _ := s.post(t, "/hires", bad); status != http.StatusBadRequest {
			t.Errorf("hire %v: status %d, want 400", bad, status)
		}
	}
}

// people answer whatever is asked, in any way, until nobody waits any more. They
// use the files beside whoever serves, as commands do.
func people(t *testing.T, dir string, done <-chan struct{}) {
	d, closer, err := openDesk(t.Context(), config{db: filepath.Join(dir, "onboarding.db"), day: time.Hour}, true)
	if err != nil {
		t.Error(err)
		return
	}
	defer closer.Close()
	for next := ""; ; {
		rows, after, err := d.rows(t.Context(), next)
		if err != nil {
			t.Error(err)
			return
		}
		next = after
		for _, r := range rows {
			answers := map[string][]string{stepCheck: {"pass", "pass", "pass", "working", "fail"}, stepApproval: {"approve", "approve", "refuse"}}[r.Waits.Step]
			if len(answers) > 0 {
				_ = deliver(t.Context(), d.engine, r.Hire, r.Waits, reply{Answer: answers[rand.IntN(len(answers))]}) // others may be quicker
			}
		}
		select {
		case <-done:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// hireMany begins many onboardings, a third of which must fail.
func hireMany(t *testing.T, dir string, n int) {
	t.Helper()
	d, closer, err := openDesk(t.Context(), config{db: filepath.Join(dir, "onboarding.db"), day: time.Hour}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	for i := range n {
		h := Hire{Name: fmt.Sprintf("Hire %03d", i), Manager: "grace@example.com", Laptop: laptops[i%len(laptops)]}
		if _, err := d.hire(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
}

// left counts the onboardings that have not ended.
func left(t *testing.T, dir string) int {
	t.Helper()
	return len(heads(t, dir, durable.StatusPending, durable.StatusRunning, durable.StatusSuspended))
}

// unpark does what an operator does about onboardings that were killed so often,
// one time after the other, that they are parked for it, and counts them. There is
// no other reason to be parked.
func unpark(t *testing.T, dir string) (n int) {
	t.Helper()
	parked := heads(t, dir, durable.StatusParked)
	if len(parked) == 0 {
		return 0
	}
	d, closer, err := openDesk(t.Context(), config{db: filepath.Join(dir, "onboarding.db"), day: time.Hour}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	for _, h := range parked {
		if h.Park.Reason != durable.ParkCrashLoop {
			t.Fatalf("%s is parked: %+v", h.ID, h.Park)
		}
		err := d.engine.Act(t.Context(), h.ID, h.Revision, durable.Decision{Verb: h.Park.Verbs[0], Actor: "ada", Reason: "it was killed, and did not crash"})
		if err != nil && !errors.Is(err, durable.ErrDelivered) { // as it is until somebody serves again
			t.Fatal(err)
		}
		t.Logf("%s was parked: %s", h.ID, h.Park.Message)
		n++
	}
	return n
}

// owners are the engines that run onboardings right now.
func owners(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, h := range heads(t, dir, durable.StatusRunning) {
		engine, _, _ := strings.Cut(h.Owner, "/")
		all[engine] = true
	}
	return all
}

// claimed tells whether an onboarding is still claimed as it was.
func claimed(t *testing.T, dir string, was durable.Head) bool {
	t.Helper()
	return slices.ContainsFunc(heads(t, dir, durable.StatusRunning), func(h durable.Head) bool { return h.ID == was.ID && h.Epoch == was.Epoch })
}

func heads(t *testing.T, dir string, statuses ...durable.Status) []durable.Head {
	t.Helper()
	d, closer, err := openDesk(t.Context(), config{db: filepath.Join(dir, "onboarding.db"), day: time.Hour}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	list, err := d.engine.Store().List(t.Context(), &durable.ListQuery{Definition: definition, Limit: 1000, Statuses: statuses})
	if err != nil {
		t.Fatal(err)
	}
	return list.Heads
}

// TestKill9: who serves is killed at any moment, again and again, and in the end
// the books are right.
func TestKill9(t *testing.T) {
	t.Parallel()
	const hires, kills = 200, 20
	dir := t.TempDir()
	hireMany(t, dir, hires)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() { defer close(gone); people(t, dir, done) }()
	killed := 0
	for left(t, dir)+unpark(t, dir) > 0 {
		s := start(t, dir, "-day", "1h", "-slow", "50ms")
		pause := rand.N(200 * time.Millisecond)
		if killed >= kills {
			pause = time.Second
		}
		time.Sleep(pause)
		s.kill()
		killed++
	}
	close(done)
	<-gone
	out := does(t, dir, "audit")
	if !strings.Contains(out, " 0 under way, 0 parked, 0 BROKEN") || strings.Contains(out, "\n0 all done") || strings.Contains(out, " 0 all undone") {
		t.Errorf("audit after %d kills:\n%s", killed, out)
	}
	if killed < kills {
		t.Errorf("%d kills, want %d: raise the number of hires", killed, kills)
	}
	t.Logf("%d kills: %s", killed, out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])
}

// TestTwoServe: two on the same files share the work; when one is killed the other
// goes on with all of it.
func TestTwoServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hireMany(t, dir, 100) // more than one of them runs at once
	a, b := start(t, dir, "-slow", "300ms"), start(t, dir, "-slow", "300ms")
	done, gone := make(chan struct{}), make(chan struct{})
	go func() { defer close(gone); people(t, dir, done) }()
	for end := time.Now().Add(20 * time.Second); len(owners(t, dir)) < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("they do not share the work: %s%s", a.err.String(), b.err.String())
		}
	}
	a.kill()
	before := time.Now().Add(20 * time.Second) // any of their leases ends
	for _, was := range heads(t, dir, durable.StatusRunning) {
		for claimed(t, dir, was) {
			if time.Now().After(before) {
				t.Fatalf("%s was left until its lease ran out: %s", was.ID, b.err.String())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	for left(t, dir) > 0 {
		time.Sleep(50 * time.Millisecond)
	}
	close(done)
	<-gone
	if out := does(t, dir, "audit"); !strings.Contains(out, " 0 under way, 0 parked, 0 BROKEN") {
		t.Errorf("audit:\n%s", out)
	}
}

// TestItWaits: what waits for a person, or for time, does so without a process,
// and a polite end is one.
func TestItWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, "-day", "4s")
	does(t, dir, "hire", "Ada")
	eventually(t, "identity check", func() string { return does(t, dir, "hires") })
	if err := s.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Errorf("ended politely: %v: %s", err, s.err.String())
	}
	if out := does(t, dir, "audit"); !strings.Contains(out, "1 under way") {
		t.Errorf("while nobody serves:\n%s", out)
	}
	time.Sleep(6500 * time.Millisecond) // the heartbeat is missed meanwhile
	start(t, dir, "-day", "4s")
	eventually(t, "complete", func() string { return does(t, dir, "hires") })
	if out := does(t, dir, "audit"); !strings.Contains(out, "1 all undone") {
		t.Errorf("once somebody serves again:\n%s", out)
	}
}

// TestBadInput: whatever is wrong, it is named with the remedy, and the exit code
// is 1.
func TestBadInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := cli(t, dir, "hires"); err == nil || !strings.Contains(out, "onboarding.db") || !strings.Contains(out, "begin with") {
		t.Errorf("without a file: %v, %s", err, out)
	}
	s := start(t, dir)
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	does(t, dir, "hire", "Ada")
	eventually(t, "identity check", func() string { return does(t, dir, "hires") })
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"fire", "ada"}, []string{`no command "fire"`, "onboarding -h"}},
		{[]string{"approve"}, []string{"0 arguments", "onboarding approve HIRE"}},
		{[]string{"approve", "ada", "bob"}, []string{"2 arguments"}},
		{[]string{"approve", "nobody"}, []string{`nobody called "nobody"`, "onboarding hires"}},
		{[]string{"approve", "ada"}, []string{"nobody was asked for the approval of ada"}},
		{[]string{"cancel", "nobody"}, []string{`nobody called "nobody"`}},
		{[]string{"identity", "maybe", "ada"}, []string{"pass, fail or working"}},
		{[]string{"hire", "Ada", "-manager", "eve@example.com"}, []string{"ada is there already"}},
		{[]string{"hire", "!!"}, []string{"letters or digits"}},
		{[]string{"hire", "Bob", "-laptop", "abacus"}, []string{"abacus", laptops[0]}},
		{[]string{"hire", "Bob", "-manager", "nobody"}, []string{"no mail address"}},
		{[]string{"hire", "Bob", "-day", "2s"}, []string{"-day means nothing to hire"}},
		{[]string{"-quickly"}, []string{"not defined: -quickly", "onboarding -h"}},
		{[]string{"-day", "soon"}, []string{"invalid value", "-day"}},
		{[]string{"-store", "dynamodb:t"}, []string{"-store and -books go together"}},
		{[]string{"audit", "-books", "dynamodb:t"}, []string{"-store and -books go together"}},
		{[]string{"-store", "redis:t", "-books", "dynamodb:t"}, []string{`-store "redis:t"`, "sqlite:PATH"}},
		{[]string{"-store", "sqlite:other.db", "-books", "books.db"}, []string{`-books "books.db"`, "sqlite:PATH"}},
		{[]string{"hires", "-store", "sqlite:nowhere.db", "-books", "sqlite:b.db"}, []string{"nowhere.db", "start the program that makes it"}},
		{[]string{"hires", "-db", "x.db", "-store", "sqlite:other.db", "-books", "sqlite:b.db"}, []string{"-db and -store"}},
		{[]string{"-url", "example.com"}, []string{"-url", "https://"}},
		{[]string{"-lease", "1ms"}, []string{"-lease 1ms", "between"}},
		{[]string{"-day", "0s"}, []string{"-day 0s", "between"}},
		{[]string{"-slow", "1m"}, []string{"-slow 1m0s", "between"}},
		{[]string{"-db", garbage}, []string{garbage, "not a database"}},
		{[]string{"-db", filepath.Join(dir, "no", "x.db")}, []string{"does not exist"}},
		{[]string{"-db", ""}, []string{"-db needs"}},
		{[]string{"-listen", strings.TrimPrefix(s.url, "http://")}, []string{"in use", "another -listen"}},
	} {
		out, err := cli(t, dir, c.args...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
			t.Errorf("%q: got %v, want exit code 1", c.args, err)
		}
		for _, says := range append(c.says, "onboarding: ") {
			if !strings.Contains(out, says) || strings.Contains(out, "goroutine ") {
				t.Errorf("%q: got %s, want it to say %q", c.args, out, says)
			}
		}
	}
	does(t, dir, "hires", "-store", "sqlite:onboarding.db", "-books", "sqlite:onboarding-outside.db")
	if out := does(t, dir, "-h"); !strings.Contains(out, "onboarding approve ada-lovelace") || !strings.Contains(out, "-day") {
		t.Errorf("the help has no examples:\n%s", out)
	}
}
