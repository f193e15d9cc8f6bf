package dynamo

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		code, message string
		says          string
		broken        bool
	}{
		{"AccessDeniedException", "User: arn is not authorized", "policy", true},
		{"ExpiredTokenException", "The security token included in the request is expired", "renew", true},
		{"UnrecognizedClientException", "The security token included in the request is invalid.", "access key", true},
		{"InvalidSignatureException", "Signature expired", "clock", true},
		{"ValidationException", "The provided key element does not match the schema", "CreateTable", true},
		{"ValidationException", "The table does not have the specified index: due", "CreateTable", true},
		{"ValidationException", "Item size has exceeded the maximum allowed size", "UpdateItem", false},
		{"Unheard", "of", "UpdateItem", false},
		{"ThrottlingException", "Rate exceeded", "quota", false},
		{"ProvisionedThroughputExceededException", "The level of configured throughput was exceeded", "shards", false},
		{"InternalServerError", "Internal server error", "Health Dashboard", false},
		{"TransactionConflictException", "Transaction is ongoing for the item", "UpdateItem", false},
	} {
		cause := &smithy.GenericAPIError{Code: c.code, Message: c.message}
		err := explain("orders", "UpdateItem", cause)
		wantSays(t, err, "orders", "UpdateItem", c.says, c.message)
		if got := errors.Is(err, durable.ErrStoreBroken); got != c.broken || !errors.Is(err, cause) {
			t.Errorf("%s: broken %v, wraps its cause %v, want %v and true", c.code, got, errors.Is(err, cause), c.broken)
		}
	}
	missing := explain("orders", "GetItem", &types.ResourceNotFoundException{Message: aws.String("Requested resource not found")})
	wantBroken(t, missing, "orders", "GetItem", "does not exist", "region")
}

// TestUnreachable: a region that there is not, and a service that is not there,
// are a line without an answer. It may come back, so nothing is broken for the
// engine, but a person who waits for it reads what to check.
func TestUnreachable(t *testing.T) {
	nowhere := dynamodb.New(dynamodb.Options{Region: "eu-nowhere-9", Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
		HTTPClient: &breaker{fault: fixed(&fault{message: "lookup dynamodb.eu-nowhere-9.amazonaws.com: no such host"})}})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, nowhere, Options{Table: "orders"})
	wantSays(t, err, "orders", "DescribeTable", "check the region, the endpoint", "no such host", "given up")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, durable.ErrStoreBroken) {
		t.Errorf("got %v, want the deadline, and no store that needs repair", err)
	}
}

// TestUnconfigured: what the SDK says when it cannot even ask.
func TestUnconfigured(t *testing.T) {
	nobody := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("no EC2 IMDS role found")
	})
	_, err := Open(t.Context(), dynamodb.New(dynamodb.Options{Region: "us-east-1", Credentials: nobody}), Options{Table: "orders"})
	wantBroken(t, err, "orders", "DescribeTable", "AWS_PROFILE", "no EC2 IMDS role found")

	somebody := credentials.NewStaticCredentialsProvider("id", "secret", "")
	_, err = Open(t.Context(), dynamodb.New(dynamodb.Options{Credentials: somebody}), Options{Table: "orders"})
	wantBroken(t, err, "orders", "DescribeTable", "AWS_REGION")
}

// failing is an API whose updates fail n times.
type failing struct {
	API
	n    int
	err  error
	seen int
}

func (f *failing) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	if f.seen++; f.seen <= f.n {
		return nil, f.err
	}
	if f.API == nil {
		return &dynamodb.UpdateItemOutput{Attributes: item{}}, nil
	}
	return f.API.UpdateItem(ctx, in, opts...)
}

func TestRetriesWhatPasses(t *testing.T) {
	unavailable := &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: 503}}, Err: errors.New("unavailable")}
	for name, c := range map[string]struct {
		err    error
		passes bool
	}{
		"throttled":       {&types.ProvisionedThroughputExceededException{}, true},
		"request limit":   {&types.RequestLimitExceeded{}, true},
		"throttling":      {&types.ThrottlingException{}, true},
		"server error":    {&types.InternalServerError{}, true},
		"conflict":        {&types.ReplicatedWriteConflictException{}, true},
		"503":             {unavailable, true},
		"reset":           {errors.New("connection reset by peer"), true},
		"attempt timeout": {context.DeadlineExceeded, true},
		"denied":          {&smithy.GenericAPIError{Code: "AccessDeniedException"}, false},
		"missing":         {&types.ResourceNotFoundException{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			api := &failing{n: 4, err: c.err}
			s := &Store{caller: caller{table: "orders", attempt: time.Second}, api: api, turns: map[string]*head{}}
			_, _, err := s.change(t.Context(), "a", &update{})
			if c.passes && (err != nil || api.seen != 5) {
				t.Errorf("got %v after %d attempts, want nil after 5", err, api.seen)
			}
			if !c.passes && (err == nil || api.seen != 1) {
				t.Errorf("got %v after %d attempts, want an error after 1", err, api.seen)
			}
		})
	}
}

// TestGivesUpWithItsContext: throttled for longer than the caller waits, the
// error says both.
func TestGivesUpWithItsContext(t *testing.T) {
	api := &failing{n: 1 << 30, err: &types.ThrottlingException{Message: aws.String("slow down")}}
	s := &Store{caller: caller{table: "orders", attempt: time.Second}, api: api, turns: map[string]*head{}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.Claim(ctx, &durable.Claim{ID: "a", Owner: "w", Now: now, Lease: late})
	wantSays(t, err, "orders", "UpdateItem", "slow down", "quota")
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, durable.ErrStoreBroken) {
		t.Errorf("got %v, want the deadline, and nothing for a person", err)
	}
}

func TestOpenExplains(t *testing.T) {
	client := dynamolocal.Client(t)
	_, err := Open(t.Context(), client, Options{Table: "no-such-table"})
	wantBroken(t, err, "no-such-table", "DescribeTable", "does not exist")

	opts := Options{Table: dynamolocal.Table(t)}
	in := tableInput(opts)
	in.GlobalSecondaryIndexes = in.GlobalSecondaryIndexes[:1]
	in.GlobalSecondaryIndexes[0].KeySchema[1].AttributeName = aws.String(aSK)
	in.AttributeDefinitions = in.AttributeDefinitions[:3]
	if _, err := client.CreateTable(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	says := []string{opts.Table, "Table: it ", "the keys of its index due are (g, sk), want (g, d)", "it has no index attention on (a, pk)"}
	_, err = Open(t.Context(), client, opts)
	wantBroken(t, err, says...)
	wantBroken(t, CreateTable(t.Context(), client, opts), says...)

	if _, err := Open(t.Context(), client, Options{}); !errors.Is(err, durable.ErrInvalid) {
		t.Errorf("Open without a table: got %v, want ErrInvalid", err)
	}
}

// TestCreateTable: again is nothing, and what is there decides the shards.
func TestCreateTable(t *testing.T) {
	client := dynamolocal.Client(t)
	opts := newTable(t, client)
	opts.Shards = 3
	if err := CreateTable(t.Context(), client, opts); err != nil {
		t.Fatalf("CreateTable again: got %v, want nil", err)
	}
	if s := open(t, client, opts); s.shards.Load() != 4 {
		t.Errorf("shards: got %d, want the table's 4", s.shards.Load())
	}
}

// TestShardsGrow: who polls finds what was put into shards that came since,
// and what stands in those that were there.
func TestShardsGrow(t *testing.T) {
	client := dynamolocal.Client(t)
	opts := newTable(t, client)
	before := open(t, client, opts)
	due := func(at time.Time) []string {
		t.Helper()
		page, err := before.Due(t.Context(), &durable.DueQuery{Definition: "order", Version: "1", Now: at})
		if err != nil {
			t.Fatal(err)
		}
		return page.IDs()
	}
	create(t, before, pending("a"))
	if got := due(now); len(got) != 1 {
		t.Fatalf("got %v, want a", got)
	}
	opts.Shards = 64
	if err := CreateTable(t.Context(), client, opts); err != nil {
		t.Fatal(err)
	}
	id := "b"
	for shardOf(id, 64) < 4 {
		id += "b"
	}
	create(t, open(t, client, opts), pending(id))
	if got := due(now.Add(settingsAge)); len(got) != 2 {
		t.Errorf("a minute later: got %v, want a and %s", got, id)
	}
}

// tables is a TableAPI that notes what is asked for beyond a table.
type tables struct {
	*dynamodb.Client
	recovery, protection bool
}

func (a *tables) UpdateTable(_ context.Context, in *dynamodb.UpdateTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error) {
	a.protection = *in.DeletionProtectionEnabled
	return &dynamodb.UpdateTableOutput{}, nil
}

func (a *tables) UpdateContinuousBackups(_ context.Context, in *dynamodb.UpdateContinuousBackupsInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateContinuousBackupsOutput, error) {
	a.recovery = *in.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled
	return &dynamodb.UpdateContinuousBackupsOutput{}, nil
}

// TestCreateTableProtects: also a table that is there.
func TestCreateTableProtects(t *testing.T) {
	api := &tables{Client: dynamolocal.Client(t)}
	opts := newTable(t, api.Client)
	opts.DeletionProtection, opts.PointInTimeRecovery = true, true
	if err := CreateTable(t.Context(), api, opts); err != nil || !api.protection || !api.recovery {
		t.Errorf("got %v, protection %v, recovery %v, want nil, true, true", err, api.protection, api.recovery)
	}
	if in := tableInput(opts); !aws.ToBool(in.DeletionProtectionEnabled) {
		t.Error("a new table is not protected")
	}
}

// TestDamagedJournal: a journal that cannot be read is for a person, who is
// told which and what to do.
func TestDamagedJournal(t *testing.T) {
	for name, damage := range map[string]func(m item){
		"cut short": func(m item) { m[sBytes] = asBytes((&reader{item: m}).bytes(sBytes)[:3]) },
		"rubbish":   func(m item) { m[sBytes] = asBytes([]byte("rubbish")) },
		"missing":   func(m item) { clear(m) },
	} {
		t.Run(name, func(t *testing.T) {
			client := dynamolocal.Client(t)
			s := appending(newStore(t, client))
			create(t, s, running("a"))
			commit(t, s, batch("a", 1, 2, durable.StatusRunning))
			commit(t, s, batch("a", 1, 3, durable.StatusRunning))
			key := recordKey("creator/a", 2)
			m, err := s.get(t.Context(), pkOf("a"), key)
			if err != nil || len(m) == 0 {
				t.Fatalf("the record: got %v, %v", m, err)
			}
			if _, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &s.table, Key: keyOf(pkOf("a"), key)}); err != nil {
				t.Fatal(err)
			}
			if damage(m); len(m) > 0 {
				if err := s.put(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			other := open(t, client, Options{Table: s.table})
			_, err = other.Load(t.Context(), "a", durable.LoadAll)
			wantBroken(t, err, s.table, `reading execution "a"`, "damaged", "backup")
		})
	}
}

// TestNewerVersion: an item that a newer build wrote is left alone by all that
// would write, with an error that says so.
func TestNewerVersion(t *testing.T) {
	client := dynamolocal.Client(t)
	opts := newTable(t, client)
	s := open(t, client, opts)
	create(t, s, pending("a"))
	raise := func(pk, sk string) {
		t.Helper()
		_, err := client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: &opts.Table, Key: keyOf(pk, sk),
			UpdateExpression: aws.String("SET f = :f"), ExpressionAttributeValues: item{":f": number(format + 1)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	raise(pkOf("a"), skHead)
	ctx, says := t.Context(), []string{opts.Table, `reading execution "a"`, "newer clew", "deploy"}
	_, err := s.Claim(ctx, &durable.Claim{ID: "a", Owner: "w", Now: late, Lease: late})
	wantBroken(t, err, says...)
	_, err = s.Load(ctx, "a", durable.LoadHead)
	wantBroken(t, err, says...)
	_, err = s.Commit(ctx, batch("a", 1, 1, durable.StatusRunning))
	wantBroken(t, err, says...)
	wantBroken(t, s.Create(ctx, running("a")), says...)
	wantBroken(t, s.Deliver(ctx, &durable.Delivery{ID: "a", Key: "cancel", Nonce: "n", Kind: durable.DeliverCancel, Now: now}), says...)
	wantBroken(t, s.Delete(ctx, "a"), says...)

	// It hides no other from lists, and keeps no worker from others.
	w := &world{meter: &meter{API: client}}
	w.store = open(t, w.meter, opts)
	def := durable.Define("order", "1", func(*durable.Context, string) (string, error) { return "done", nil })
	w.run(t, def)
	x, err := def.Start(ctx, w.engine, "b", "in")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Wait(ctx); out != "done" || err != nil {
		t.Errorf("beside it: got %q, %v, want done", out, err)
	}
	page, err := s.List(ctx, &durable.ListQuery{})
	if err != nil || len(page.Heads) != 2 || !strings.Contains(page.Heads[0].Detail, "newer clew") || page.Heads[0].Status != durable.StatusPending {
		t.Errorf("List: got %+v, %v, want both, and the newer one to say so", page.Heads, err)
	}

	raise(settingsPK, settingsSK)
	_, err = Open(ctx, client, opts)
	wantBroken(t, err, opts.Table, "reading its settings", "newer clew", "deploy")
}
