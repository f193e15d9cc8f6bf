package main

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/internal/dynamolocal"
)

// TestOnDynamoDB kills the program on a table, twice, and lets it finish. What
// the killed ones held is taken over when their leases end.
func TestOnDynamoDB(t *testing.T) {
	client, table := dynamolocal.Client(t), dynamolocal.Table(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "local")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "local")
	t.Cleanup(func() {
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	})
	store := dynamolocal.URL(t, table)
	dir := t.TempDir()
	args := []string{"-store", store, "-orders", "60", "-decline", "0.3", "-step-delay", "10ms"}
	for range 2 {
		p := start(t, dir, args...)
		time.Sleep(700 * time.Millisecond)
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	start(t, dir, args...).finish(t).clean(t, 60)
}
