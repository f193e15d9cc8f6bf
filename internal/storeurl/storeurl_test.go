package storeurl

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/dynamolocal"
	"github.com/clewdev/clew/store/dynamo"
)

func TestMistakes(t *testing.T) {
	for u, says := range map[string]string{
		"orders.db":                     "sqlite:PATH",
		"redis:orders":                  "dynamodb:TABLE",
		"sqlite:no/such.db":             "no/such.db",
		"dynamodb:?region=eu-central-1": "names no table",
		"dynamodb:orders?regoin=eu":     "regoin",
		"dynamodb:orders?region=%zz":    "invalid URL escape",
		"dynamodb:":                     "sqlite:PATH",
		"dynamodb:orders?endpoint=x":    "is no URL",
		"dynamodb:orders?y=z":           "unknown parameter \"y\"",
	} {
		_, _, err := Open(u)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Open(%s): got %v, want it to say %q", u, err, says)
		}
	}
}

// TestDynamo: it opens what is there and makes nothing.
func TestDynamo(t *testing.T) {
	client := dynamolocal.Client(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "local")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "local")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	table := dynamolocal.Table(t)
	store := dynamolocal.URL(t, table)

	_, _, err := Open(store)
	if !errors.Is(err, durable.ErrStoreBroken) || !strings.Contains(err.Error(), table) {
		t.Fatalf("Open of a table that is not there: got %v, want ErrStoreBroken naming it", err)
	}
	if err := dynamo.CreateTable(t.Context(), client, dynamo.Options{Table: table}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	s, closer, err := Open(store)
	if err != nil {
		t.Fatalf("Open: got %v, want nil", err)
	}
	defer closer.Close()
	id := durable.Identity{ID: "a", Definition: "order", Version: "1", Created: time.Now()}
	if err := s.Create(t.Context(), &durable.Create{Identity: id, Now: time.Now(), Owner: "o", Due: time.Now()}); err != nil {
		t.Errorf("Create: got %v, want nil", err)
	}
}
