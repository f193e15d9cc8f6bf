package dynamo

import (
	"context"
	"reflect"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
)

// bareTable is a table as a template makes it: keys and indexes, and no items.
func bareTable(t *testing.T, client *dynamodb.Client) Options {
	t.Helper()
	opts := Options{Table: dynamolocal.Table(t)}
	if _, err := client.CreateTable(t.Context(), tableInput(opts)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &opts.Table}); err != nil {
			t.Logf("DeleteTable: %v", err)
		}
	})
	return opts
}

// settings are the number of shards that a table says it has, and its format.
func settings(t *testing.T, s *Store) (shards, f int64) {
	t.Helper()
	m, err := s.get(t.Context(), settingsPK, settingsSK)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{item: m}
	return r.int(aShards), r.int(aFormat)
}

// TestOpenSettles: of many processes that are the first on a table that
// CreateTable did not make, one decides over how many shards it is spread, and
// all see what the others put there.
func TestOpenSettles(t *testing.T) {
	client := dynamolocal.Client(t)
	opts := bareTable(t, client)
	stores := make([]*Store, 8)
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() {
			opts := opts
			opts.Shards = 1 + i
			var err error
			if stores[i], err = Open(t.Context(), client, opts); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	want, f := settings(t, stores[0])
	if want < 1 || want > 8 || f != format {
		t.Fatalf("the table has %d shards in format %d, want one of those asked for, in format %d", want, f, format)
	}
	for i, s := range stores {
		if got := s.shards.Load(); got != want {
			t.Errorf("process %d has %d shards, want the table's %d", i, got, want)
		}
	}
	id := "a"
	for shardOf(id, int(want)) != int(want)-1 {
		id += "a"
	}
	create(t, stores[7], pending(id))
	page, err := stores[0].Due(t.Context(), &durable.DueQuery{Definition: "order", Version: "1", Now: now})
	if err != nil || !reflect.DeepEqual(page.IDs(), []string{id}) {
		t.Errorf("due is %v, %v, want %s", page.IDs(), err, id)
	}
}

// TestSettingsGrow: CreateTable over a table that something else made, and in
// which definitions are enrolled, raises its shards, and keeps those.
func TestSettingsGrow(t *testing.T) {
	client := dynamolocal.Client(t)
	opts := bareTable(t, client)
	s := open(t, client, opts)
	want, err := s.Enrol(t.Context(), [][2]string{{"order", "1"}})
	if err != nil {
		t.Fatal(err)
	}
	opts.Shards = 16
	if err := CreateTable(t.Context(), client, opts); err != nil {
		t.Fatal(err)
	}
	if n, _ := settings(t, s); n != 16 {
		t.Errorf("the table has %d shards, want 16", n)
	}
	if got, err := s.Enrol(t.Context(), nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("enrolled are %q, %v, want %q", got, err, want)
	}
}

// readOnly is a client whose credentials may only read.
type readOnly struct{ API }

func (readOnly) UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	return nil, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "is not authorized to perform: dynamodb:UpdateItem"}
}

// TestOpenToRead: who may only read a table without settings can look at it.
func TestOpenToRead(t *testing.T) {
	client := dynamolocal.Client(t)
	opts := bareTable(t, client)
	s := open(t, readOnly{client}, opts)
	if page, err := s.List(t.Context(), &durable.ListQuery{}); err != nil || len(page.Heads) != 0 {
		t.Errorf("got %v, %v, want an empty list", page, err)
	}
	if n, _ := settings(t, s); n != 0 {
		t.Errorf("the table has %d shards, want none: nobody was allowed to write", n)
	}
}
