package participant

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/internal/faultproxy"
)

// The same calls leave the same report, whatever the books are.
func TestSameCallsSameReport(t *testing.T) {
	play := func(t *testing.T, w *world) Report {
		ctx, c := t.Context(), w.Client
		for n := range 6 {
			sell(t, []*Client{c, c}, OrderID(n+1))
		}
		_, err := c.Authorize(ctx, "left", 1, OrderID(7), "tok_visa", 500)
		wantNil(t, err)
		_, err = c.Authorize(ctx, "left", 2, OrderID(7), "tok_visa", 501)
		wantPlain(t, err, "key_misuse")
		_, err = c.Authorize(ctx, "", 1, OrderID(7), "tok_visa", 501)
		wantPlain(t, err, "malformed")
		_, err = c.Authorize(ctx, "no", 1, OrderID(8), DeclinedCard, 500)
		wantRejected(t, err, CodeDeclined)
		_, err = c.Capture(ctx, "cap", 1, OrderID(9), "auth", 800)
		wantNil(t, err)
		_, err = c.Receipt(ctx, "rec", 1, "a stranger", 800)
		wantNil(t, err)
		_, _, err = c.VerifyCapture(ctx, "never", 1)
		wantNil(t, err)
		r, err := Audit(ctx, w.books, 9)
		wantNil(t, err)
		return r
	}
	files, table := play(t, newFileWorld(t)), play(t, newTableWorld(t))
	if fmt.Sprintf("%+v", files) != fmt.Sprintf("%+v", table) {
		t.Errorf("got\n%+v from files and\n%+v from a table", files, table)
	}
	if files.Committed != 3 || files.Parked != 3 || len(files.Details) != 3 || files.KeyMisuses != 1 {
		t.Errorf("got %+v, want 3 orders committed and 3 parked", files)
	}
}

// An audit reads all pages of a table.
func TestAuditPages(t *testing.T) {
	client, name := newTable(t)
	c := craftTable(t)
	for n := range 7 {
		c.add(OrderID(n+1), wholeOrder...)
	}
	c.add(OrderID(3), "-capture")
	small := &pager{DynamoDB: c.books.(*table).client}
	checkAudit(t, Table(small, c.books.(*table).name), 7, Report{Orders: 7, Committed: 6, Parked: 1, MissingUndos: 3, LedgerImbalanceCents: 100},
		"captured 0 cents, but revenue is 100")
	if small.pages < 7*len(wholeOrder)/5 {
		t.Errorf("it read %d pages", small.pages)
	}
	checkAudit(t, Table(client, name), 0, Report{}, "") // an empty table
}

// pager makes the pages of a scan small.
type pager struct {
	DynamoDB
	pages int
}

func (p *pager) Scan(ctx context.Context, in *dynamodb.ScanInput, opts ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	p.pages++
	in.Limit = aws.Int32(5)
	return p.DynamoDB.Scan(ctx, in, opts...)
}

// Two functions on one table, callers who send every call to both, and a
// network that loses, repeats, delays and refuses requests to the table: each
// effect happens once.
func TestTableInTrouble(t *testing.T) {
	const callers, orders = 8, 2
	client, name := newTable(t)
	proxy, err := faultproxy.Start(dynamolocal.Endpoint(t), faultproxy.Plan{Late: [2]time.Duration{time.Millisecond, 300 * time.Millisecond},
		Rates: map[faultproxy.Fault]float64{faultproxy.LostAnswer: 0.06, faultproxy.Unsent: 0.04, faultproxy.Repeated: 0.06,
			faultproxy.Stalled: 0.04, faultproxy.Throttled: 0.03, faultproxy.Failed: 0.04, faultproxy.Reset: 0.03}})
	if err != nil {
		t.Fatal(err)
	}
	var clients []*Client
	for range 2 {
		troubled := dynamolocal.Client(t, func(o *dynamodb.Options) {
			o.BaseEndpoint = aws.String(proxy.URL())
			o.HTTPClient = awshttp.NewBuildableClient().WithTimeout(200 * time.Millisecond)
			o.Retryer = attempts(2)
		})
		c := serveTable(t, TableConfig{Client: troubled, Name: name})
		c.http.Transport = again{c.http.Transport}
		clients = append(clients, c)
	}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range orders {
				sell(t, clients, OrderID(caller*orders+i+1))
			}
		})
	}
	wg.Wait()
	wantNil(t, proxy.Close())
	got, err := Audit(t.Context(), Table(client, name), callers*orders)
	wantNil(t, err)
	t.Logf("faults %v, %d calls repeated", proxy.Counts(), got.RepeatedCalls)
	want := Report{Orders: callers * orders, Committed: callers * orders / 2, Undone: callers * orders / 2, RepeatedCalls: got.RepeatedCalls}
	checkAudit(t, Table(client, name), callers*orders, want, "")
	if got.RepeatedCalls < callers*orders*6 {
		t.Errorf("%d calls repeated, although each was made twice", got.RepeatedCalls)
	}
	for _, f := range []faultproxy.Fault{faultproxy.LostAnswer, faultproxy.Repeated, faultproxy.Failed} {
		if proxy.Counts()[f] == 0 {
			t.Errorf("no request met the fault %s", f)
		}
	}
}

// attempts is the SDK's way to repeat requests, without its long pauses.
func attempts(n int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = n, 20*time.Millisecond })
}

// again repeats a call for as long as nobody knows what became of it.
type again struct{ http.RoundTripper }

func (a again) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	for {
		try := r.Clone(r.Context())
		try.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := a.RoundTripper.RoundTrip(try)
		if r.Context().Err() != nil || err == nil && resp.StatusCode < 500 {
			return resp, err
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}

// A write whose answer is lost, however often, is known again: by the service,
// when the SDK repeats it, and by its key, when the caller does.
func TestLostAnswersOfTheTable(t *testing.T) {
	client, name := newTable(t)
	var lost atomic.Int64
	proxy, err := faultproxy.Start(dynamolocal.Endpoint(t), faultproxy.Plan{Target: func(action string, _ []byte) faultproxy.Fault {
		if action == "TransactWriteItems" && lost.Add(-1) >= 0 {
			return faultproxy.LostAnswer
		}
		return faultproxy.None
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	troubled := dynamolocal.Client(t, func(o *dynamodb.Options) {
		o.BaseEndpoint = aws.String(proxy.URL())
		o.Retryer = attempts(3)
	})
	w := &world{Client: serveTable(t, TableConfig{Client: troubled, Name: name}), books: Table(client, name)}

	lost.Store(1)
	id, err := w.Authorize(t.Context(), "once", 1, OrderID(1), "tok_visa", 100)
	if err != nil || id != effectID("auth_", "once") {
		t.Errorf("one answer lost: got %q, %v", id, err)
	}
	w.wantEffects(t, Gateway, OrderID(1), "authorize once applied 100")
	w.wantCalls(t, Gateway, "once", "authorize 1 applied")

	lost.Store(3)
	_, err = w.Authorize(t.Context(), "thrice", 1, OrderID(2), "tok_visa", 100)
	wantPlain(t, err, "500 internal")
	again, err := w.Authorize(t.Context(), "thrice", 2, OrderID(2), "tok_visa", 100)
	if err != nil || again != effectID("auth_", "thrice") {
		t.Errorf("all answers lost, then repeated: got %q, %v", again, err)
	}
	w.wantEffects(t, Gateway, OrderID(2), "authorize thrice applied 100")
	w.wantCalls(t, Gateway, "thrice", "authorize 1 applied", "authorize 2 repeated")
}

// A call whose key, or forward key, changes between its reading and its writing
// decides anew.
func TestOvertaken(t *testing.T) {
	client, name := newTable(t)
	books := Table(client, name)
	other := serveTable(t, TableConfig{Client: client, Name: name})
	var between func()
	slow := serveTable(t, TableConfig{Client: &interrupted{DynamoDB: client, before: func() {
		if f := between; f != nil {
			between = nil
			f()
		}
	}}, Name: name})
	w, ctx := &world{Client: slow, books: books}, t.Context()

	between = func() { wantNil(t, other.Void(ctx, "v1", 1, "a1")) }
	_, err := slow.Authorize(ctx, "a1", 1, OrderID(1), "tok_visa", 100)
	wantRejected(t, err, CodeTombstone)
	w.wantEffects(t, Gateway, OrderID(1))

	between = func() {
		_, err := other.Authorize(ctx, "a2", 1, OrderID(2), "tok_visa", 100)
		wantNil(t, err)
	}
	wantNil(t, slow.Void(ctx, "v2", 1, "a2")) // read when there was nothing to void
	w.wantEffects(t, Gateway, OrderID(2), "authorize a2 applied 100", "authorize a2 reversed 0")
	w.wantCalls(t, Gateway, "v2", "void 1 reversed")

	_, err = other.Authorize(ctx, "a3", 1, OrderID(3), "tok_visa", 100)
	wantNil(t, err)
	between = func() { wantNil(t, other.Void(ctx, "v3", 1, "a3")) }
	wantNil(t, slow.Void(ctx, "v4", 1, "a3")) // read when it still stood
	w.wantEffects(t, Gateway, OrderID(3), "authorize a3 applied 100", "authorize a3 reversed 0")
	w.wantCalls(t, Gateway, "v4", "void 1 nothing")

	_, err = other.Authorize(ctx, "a5", 1, OrderID(5), "tok_visa", 100)
	wantNil(t, err)
	between = func() { wantNil(t, other.Void(ctx, "v5", 1, "a5")) }
	_, err = slow.Authorize(ctx, "a5", 2, OrderID(5), "tok_visa", 100) // would have promised what no longer stands
	wantRejected(t, err, CodeUndone)

	mended := serveTable(t, TableConfig{Client: client, Name: name, Mended: true})
	_, err = other.Reserve(ctx, "r6", 1, OrderID(6), JammedSKU, 1)
	wantNil(t, err)
	between = func() { wantNil(t, mended.Release(ctx, "u6", 1, "r6")) }
	wantNil(t, slow.Release(ctx, "u7", 1, "r6")) // read when it was jammed
	w.wantEffects(t, Warehouse, OrderID(6), "reserve r6 applied 0", "reserve r6 reversed 0")
}

// interrupted lets something happen before each transaction.
type interrupted struct {
	DynamoDB
	before func()
}

func (i *interrupted) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, opts ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	i.before()
	return i.DynamoDB.TransactWriteItems(ctx, in, opts...)
}

// Faults of a table's participants are 503s and delays: a delayed call is done
// although its caller has gone, and anything can come between.
func TestFaultsOfTheTable(t *testing.T) {
	f := testFaults
	f.keepConnections = true
	client, name := newTable(t)
	books := Table(client, name)
	c := serveTable(t, TableConfig{Client: client, Name: name, FaultRate: f.rate, Seed: f.seed, MinDelay: 700 * time.Millisecond, MaxDelay: 700 * time.Millisecond})
	w := &world{Client: c, books: books}
	ctx := t.Context()

	key := keyMeeting(f, "un", unavailable, "")
	_, err := c.Authorize(ctx, key, 1, "un", "tok_visa", 100)
	wantPlain(t, err, "503 unavailable")
	w.wantEffects(t, Gateway, "un")
	_, err = c.Authorize(ctx, key, 2, "un", "tok_visa", 100)
	wantNil(t, err)
	w.wantCalls(t, Gateway, key, "authorize 1 none unavailable", "authorize 2 applied")

	undone, undo := keyMeeting(f, "undone", delayed), keyMeeting(f, "undo", "")
	gone, leave := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() {
		_, err := c.Authorize(gone, undone, 1, "und", "tok_visa", 100)
		left <- err
	}()
	for len(rowsOf(t, books).calls[[2]string{string(Gateway), undone}]) == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	<-left
	wantNil(t, c.Void(ctx, undo, 1, undone))
	wantNil(t, WaitIdle(timeout(t, time.Minute), books))
	w.wantEffects(t, Gateway, "und")
	w.wantCalls(t, Gateway, undone, "authorize 1 too_late delayed")
	r, err := Audit(ctx, books, 0)
	if err != nil || r.Held != 0 || r.Faults != 2 {
		t.Errorf("got %+v, %v, want two faults and nothing held", r, err)
	}
}

// A delay ends early where the time of the request does.
func TestDelayEndsBeforeTheDeadline(t *testing.T) {
	f := testFaults
	f.keepConnections = true
	client, name := newTable(t)
	h, err := NewHandler(TableConfig{Client: client, Name: name, FaultRate: f.rate, Seed: f.seed, MinDelay: time.Hour, MaxDelay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/ledger/receipt", strings.NewReader(`{"order":"o","amount_cents":5}`))
	req.Header.Set(headerKey, keyMeeting(f, "late", delayed))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK || ctx.Err() != nil {
		t.Errorf("got %d %s, and %v", rec.Code, rec.Body, ctx.Err())
	}
}

// What the table refuses, the caller and the log are told, with the remedy.
func TestTableErrors(t *testing.T) {
	client := dynamolocal.Client(t)
	var said bytes.Buffer
	c := serveTable(t, TableConfig{Client: client, Name: "no-such-table", Logger: slog.New(slog.NewTextHandler(&said, nil))})
	_, err := c.Authorize(t.Context(), "a", 1, "o", "tok_visa", 1)
	wantPlain(t, err, "500 internal: there is no table no-such-table here: create it, or mend the name or the region")
	if !strings.Contains(said.String(), "no-such-table") || !strings.Contains(said.String(), "key=a") {
		t.Errorf("it logged %s", said.String())
	}
	_, err = Audit(t.Context(), Table(client, "no-such-table"), 1)
	wantPlain(t, err, "participant: audit: there is no table no-such-table here")
	wantPlain(t, WaitIdle(t.Context(), Table(client, "no-such-table")), "participant: wait until idle: there is no table no-such-table here")

	// A transaction that the service will not have, whatever is read again.
	_, name := newTable(t)
	c = serveTable(t, TableConfig{Client: &refusing{DynamoDB: client, code: "ValidationError"}, Name: name})
	_, err = c.Authorize(t.Context(), "a", 1, "o", "tok_visa", 1)
	wantPlain(t, err, "500 internal: table "+name)
	// One that never gets through.
	h, err := NewHandler(TableConfig{Client: &refusing{DynamoDB: client, code: "TransactionConflict"}, Name: name})
	wantNil(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), answerReserve+300*time.Millisecond)
	defer cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/ledger/receipt", strings.NewReader(`{"order":"o","amount_cents":5}`))
	req.Header.Set(headerKey, "busy")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d %s from a call that is always overtaken, want 503", rec.Code, rec.Body)
	}
}

// refusing cancels every transaction for one reason.
type refusing struct {
	DynamoDB
	code string
}

func (r *refusing) TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	return nil, &types.TransactionCanceledException{Message: aws.String(r.code), CancellationReasons: []types.CancellationReason{{Code: &r.code}}}
}

func TestAuditOfAnotherTable(t *testing.T) {
	client, name := newTable(t)
	_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: "E#order-1"}, "sk": &types.AttributeValueMemberS{Value: "H"}}})
	wantNil(t, err)
	_, err = Audit(t.Context(), Table(client, name), 1)
	wantPlain(t, err, `the item "E#order-1", "H" is not a participant's: is this the table of the books?`)
}

func TestCreateTable(t *testing.T) {
	client, name := newTable(t)
	wantNil(t, CreateTable(t.Context(), client, name)) // again
	other := dynamolocal.Table(t)
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: &other, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}}})
	wantNil(t, err)
	defer client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &other})
	wantPlain(t, CreateTable(t.Context(), client, other), "its keys are id, not pk and sk: choose another name")
}

func TestNewHandlerRefuses(t *testing.T) {
	client := dynamolocal.Client(t)
	for _, test := range []struct {
		cfg  TableConfig
		want string
	}{
		{TableConfig{Name: "books"}, "needs a Client"},
		{TableConfig{Client: client}, "Name of a table"},
		{TableConfig{Client: client, Name: "books", FaultRate: -1}, "FaultRate is -1"},
		{TableConfig{Client: client, Name: "books", MinDelay: 2, MaxDelay: 1}, "make no range"},
	} {
		_, err := NewHandler(test.cfg)
		wantPlain(t, err, test.want)
	}
}

// TestCostOfACall: a call takes two items and one read, an undo three and two.
// DynamoDB Local does not count what transactions consume, so items are counted
// here: each consumes two write units, as long as it is within a kilobyte.
func TestCostOfACall(t *testing.T) {
	client, name := newTable(t)
	m := &meter{DynamoDB: client}
	c := serveTable(t, TableConfig{Client: m, Name: name})
	ctx, order := t.Context(), OrderID(1)
	key := func(step string) string { return order + "/1/" + step }
	for _, test := range []struct {
		name         string
		call         func() error
		items, reads int
	}{
		{"authorize", func() error { _, err := c.Authorize(ctx, key("authorize"), 1, order, "tok_visa", 100); return err }, 2, 1},
		{"its repeat", func() error { _, err := c.Authorize(ctx, key("authorize"), 2, order, "tok_visa", 100); return err }, 2, 1},
		{"check_address", func() error { _, err := c.CheckAddress(ctx, key("address check"), 1, order, "12 High St"); return err }, 2, 1},
		{"receipt", func() error { _, err := c.Receipt(ctx, key("receipt"), 1, order, 100); return err }, 2, 1},
		{"verify_capture", func() error { _, _, err := c.VerifyCapture(ctx, key("capture"), 1); return err }, 2, 1},
		{"void", func() error { return c.Void(ctx, key("authorize/undo"), 1, key("authorize")) }, 3, 2},
		{"its repeat", func() error { return c.Void(ctx, key("authorize/undo"), 2, key("authorize")) }, 2, 1},
		{"void of nothing", func() error { return c.Void(ctx, key("x/undo"), 1, key("x")) }, 3, 2},
	} {
		*m = meter{DynamoDB: client}
		wantNil(t, test.call())
		if m.items != test.items || m.reads != test.reads || m.largest > 1024 {
			t.Errorf("%s: got %d items of up to %d bytes and %d reads, want %d of up to 1024 and %d",
				test.name, m.items, m.largest, m.reads, test.items, test.reads)
		}
	}
}

// meter counts what calls ask of a table.
type meter struct {
	DynamoDB
	items, reads, largest int
}

func (m *meter) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	m.reads++
	return m.DynamoDB.GetItem(ctx, in, opts...)
}

func (m *meter) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, opts ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	m.items += len(in.TransactItems)
	for _, i := range in.TransactItems {
		if i.Put != nil {
			m.largest = max(m.largest, sizeOf(&types.AttributeValueMemberM{Value: i.Put.Item}))
		}
	}
	return m.DynamoDB.TransactWriteItems(ctx, in, opts...)
}

// sizeOf is the size of a value as DynamoDB counts it, or a little more.
func sizeOf(v types.AttributeValue) (size int) {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)
	case *types.AttributeValueMemberL:
		for _, e := range v.Value {
			size += 1 + sizeOf(e)
		}
	case *types.AttributeValueMemberM:
		for name, e := range v.Value {
			size += 1 + len(name) + sizeOf(e)
		}
	}
	return size + 3
}
