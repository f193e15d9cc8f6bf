package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// keys is a hash and a range key, both text.
type keys [2]string

func (k keys) schema() (s []types.KeySchemaElement) {
	return append(s,
		types.KeySchemaElement{AttributeName: aws.String(k[0]), KeyType: types.KeyTypeHash},
		types.KeySchemaElement{AttributeName: aws.String(k[1]), KeyType: types.KeyTypeRange})
}

var (
	tableKeys = keys{aPK, aSK}
	indexKeys = map[string]keys{
		indexDue:       {aDueHash, aDue},
		indexAttention: {aAttention, aPK},
	}
	indexNames = []string{indexDue, indexAttention}
	keyNames   = []string{aPK, aSK, aDueHash, aDue, aAttention}
)

// TableAPI is the part of *dynamodb.Client that CreateTable uses.
type TableAPI interface {
	API
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	UpdateTable(context.Context, *dynamodb.UpdateTableInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error)
	DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
	UpdateTimeToLive(context.Context, *dynamodb.UpdateTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTimeToLiveOutput, error)
	UpdateContinuousBackups(context.Context, *dynamodb.UpdateContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateContinuousBackupsOutput, error)
}

var _ TableAPI = (*dynamodb.Client)(nil)

// CreateTable makes the table of opts, billed on demand, with its indexes and
// settings, and returns when it is ready. A table that exists and fits is left
// as it is, but for protection and recovery, which are switched on if asked
// for; one that does not fit is an error that says what differs.
func CreateTable(ctx context.Context, client TableAPI, opts Options) error {
	asked := opts.Shards
	opts, err := opts.withDefaults()
	if err != nil {
		return err
	}
	s := &Store{caller: caller{table: opts.Table, attempt: max(opts.AttemptTimeout, 10*time.Second)}, api: client}
	made := true
	_, err = call(ctx, &s.caller, "CreateTable", tableInput(opts), client.CreateTable)
	var inUse *types.ResourceInUseException
	if errors.As(err, &inUse) {
		made, err = false, nil
	}
	if err != nil {
		return err
	}
	table, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if differs := compare(table); differs != "" {
		return broken(s.table, "CreateTable", "it exists, and is not a table of clew: %s: choose another name", differs)
	}
	if !made && opts.DeletionProtection && !aws.ToBool(table.DeletionProtectionEnabled) {
		in := &dynamodb.UpdateTableInput{TableName: &s.table, DeletionProtectionEnabled: aws.Bool(true)}
		if _, err := call(ctx, &s.caller, "UpdateTable", in, client.UpdateTable); err != nil {
			return err
		}
	}
	if opts.PointInTimeRecovery {
		in := &dynamodb.UpdateContinuousBackupsInput{TableName: &s.table,
			PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)}}
		if _, err := call(ctx, &s.caller, "UpdateContinuousBackups", in, client.UpdateContinuousBackups); err != nil {
			return err
		}
	}
	if err := s.expire(ctx, client); err != nil {
		return err
	}
	return s.putSettings(ctx, opts.Shards, asked)
}

// expire lets the service delete what has expired, which is garbage only.
func (s *Store) expire(ctx context.Context, client TableAPI) error {
	out, err := call(ctx, &s.caller, "DescribeTimeToLive", &dynamodb.DescribeTimeToLiveInput{TableName: &s.table}, client.DescribeTimeToLive)
	if err == nil {
		if d := out.TimeToLiveDescription; d != nil && aws.ToString(d.AttributeName) == aExpires {
			return nil
		}
		in := &dynamodb.UpdateTimeToLiveInput{TableName: &s.table,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(aExpires), Enabled: aws.Bool(true)}}
		_, err = call(ctx, &s.caller, "UpdateTimeToLive", in, client.UpdateTimeToLive)
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "UnknownOperationException" {
		return nil // a server for tests, where garbage may stay
	}
	return err
}

func tableInput(opts Options) *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{
		TableName: &opts.Table, BillingMode: types.BillingModePayPerRequest, KeySchema: tableKeys.schema(),
	}
	if opts.DeletionProtection {
		in.DeletionProtectionEnabled = aws.Bool(true)
	}
	for _, name := range keyNames {
		in.AttributeDefinitions = append(in.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: types.ScalarAttributeTypeS})
	}
	for _, name := range indexNames {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: aws.String(name), KeySchema: indexKeys[name].schema(),
			Projection: projection(name),
		})
	}
	return in
}

// projection is what an index tells besides keys: of what is due, whether it
// waits for its time or runs.
func projection(index string) *types.Projection {
	if index == indexDue {
		return &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{aStatus}}
	}
	return &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly}
}

// ready waits until the table can be used.
func (s *Store) ready(ctx context.Context) (*types.TableDescription, error) {
	for {
		table, err := s.describe(ctx)
		if err != nil || settled(table) {
			return table, err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("dynamo: table %s is not active yet: %w", s.table, context.Cause(ctx))
		}
	}
}

func settled(table *types.TableDescription) bool {
	for i := range table.GlobalSecondaryIndexes {
		if table.GlobalSecondaryIndexes[i].IndexStatus == types.IndexStatusCreating {
			return false
		}
	}
	return table.TableStatus != types.TableStatusCreating && table.TableStatus != types.TableStatusUpdating
}

func (s *Store) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := call(ctx, &s.caller, "DescribeTable", &dynamodb.DescribeTableInput{TableName: &s.table}, s.api.DescribeTable)
	if err != nil {
		return nil, err
	}
	return out.Table, nil
}

// check sees whether the table is what this build needs, and reads how it is
// sharded.
func (s *Store) check(ctx context.Context) error {
	table, err := s.describe(ctx)
	if err != nil {
		return err
	}
	if table.TableStatus == types.TableStatusCreating || table.TableStatus == types.TableStatusDeleting {
		return broken(s.table, "DescribeTable", "it is %s: wait until it is ACTIVE", table.TableStatus)
	}
	if differs := compare(table); differs != "" {
		return broken(s.table, "DescribeTable", "it is not a table of clew: %s: use one made by dynamo.CreateTable", differs)
	}
	if known, err := s.readSettings(ctx); err != nil || known {
		return err
	}
	// It was made by something else than CreateTable. Without settings, processes
	// that were given different numbers of shards would not see each other's work.
	_, err = s.settle(ctx, int(s.shards.Load()))
	if isDenied(err) {
		return nil // who may only read takes what Options say
	}
	if err == nil {
		_, err = s.readSettings(ctx) // others may have been quicker
	}
	return err
}

// readSettings reads how the table is sharded, and tells whether it says so.
// Shards only ever grow, so that who knows the greater number finds what those
// put there who knew less.
func (s *Store) readSettings(ctx context.Context) (known bool, err error) {
	m, err := s.get(ctx, settingsPK, settingsSK)
	if err != nil {
		return false, err
	}
	r := &reader{item: m}
	f, shards := r.int(aFormat), r.int(aShards)
	switch {
	case r.err != nil:
		return false, broken(s.table, "reading its settings", "they are damaged (%v): mend the item with pk = %s", r.err, settingsPK)
	case f > format:
		return false, broken(s.table, "reading its settings", "it is used by a newer clew, in format %d, and this build reads %d: deploy a build that is as new", f, format)
	case shards > s.shards.Load() || shards > 0 && s.looked.Load() == 0:
		s.shards.Store(min(shards, maxShards))
	}
	return shards > 0, nil
}

// settle writes the settings where there are none, and returns how many shards
// the table has.
func (s *Store) settle(ctx context.Context, shards int) (int64, error) {
	u := &update{}
	for name, n := range map[string]int64{aFormat: format, aShards: int64(shards)} {
		p := u.path(name)
		u.assign(p, "if_not_exists("+p+", "+u.value(number(n))+")")
	}
	in := u.input(s.table, "")
	in.Key = keyOf(settingsPK, settingsSK)
	out, err := call(ctx, &s.caller, "UpdateItem", in, s.api.UpdateItem)
	if err != nil {
		return 0, err
	}
	r := &reader{item: out.Attributes}
	return r.int(aShards), r.err
}

// settingsAge is how old the settings may be by which somebody polls.
const settingsAge = time.Minute

// refresh reads the settings again now and then. A failure is for the next
// request to tell.
func (s *Store) refresh(ctx context.Context, at time.Time) {
	ms, last := at.UnixMilli(), s.looked.Load()
	if last != 0 && ms-last < settingsAge.Milliseconds() || !s.looked.CompareAndSwap(last, ms) || last == 0 {
		return
	}
	_, _ = s.readSettings(ctx)
}

// putSettings writes the settings unless they are there, and raises the number
// of shards if more are asked for.
func (s *Store) putSettings(ctx context.Context, shards, asked int) error {
	n, err := s.settle(ctx, shards)
	if err != nil || n >= int64(asked) {
		return err
	}
	u := &update{}
	u.where(aShards, "<", number(int64(asked)))
	u.where(aFormat, "<=", number(format))
	u.set(aShards, number(int64(asked)))
	in := u.input(s.table, "")
	in.Key = keyOf(settingsPK, settingsSK)
	_, err = call(ctx, &s.caller, "UpdateItem", in, s.api.UpdateItem)
	if _, is := refused(err); is {
		return nil // it has as many
	}
	return err
}

// compare says in what a table differs from what is needed, "" if in nothing.
func compare(table *types.TableDescription) string {
	var differs []string
	if got := describeKeys(table.KeySchema); got != describeKeys(tableKeys.schema()) {
		differs = append(differs, fmt.Sprintf("its keys are %s, want %s", got, describeKeys(tableKeys.schema())))
	}
	for _, name := range indexNames {
		want, got := describeKeys(indexKeys[name].schema()), "missing"
		for i := range table.GlobalSecondaryIndexes {
			if index := &table.GlobalSecondaryIndexes[i]; aws.ToString(index.IndexName) == name {
				got = describeKeys(index.KeySchema)
				if p := projection(name); got == want && !projects(index.Projection, p.NonKeyAttributes) {
					differs = append(differs, fmt.Sprintf("its index %s does not project %s", name, strings.Join(p.NonKeyAttributes, ", ")))
				}
			}
		}
		if got == "missing" {
			differs = append(differs, fmt.Sprintf("it has no index %s on %s", name, want))
		} else if got != want {
			differs = append(differs, fmt.Sprintf("the keys of its index %s are %s, want %s", name, got, want))
		}
	}
	for _, a := range table.AttributeDefinitions {
		for _, name := range keyNames {
			if aws.ToString(a.AttributeName) == name && a.AttributeType != types.ScalarAttributeTypeS {
				differs = append(differs, fmt.Sprintf("its attribute %s is of type %s, want S", name, a.AttributeType))
			}
		}
	}
	return strings.Join(differs, "; ")
}

// projects tells whether an index has these attributes.
func projects(p *types.Projection, attributes []string) bool {
	if p == nil || p.ProjectionType == types.ProjectionTypeAll {
		return true
	}
	for _, name := range attributes {
		if !slices.Contains(p.NonKeyAttributes, name) {
			return false
		}
	}
	return true
}

func describeKeys(schema []types.KeySchemaElement) string {
	var hash, sort string
	for _, k := range schema {
		if k.KeyType == types.KeyTypeHash {
			hash = aws.ToString(k.AttributeName)
		} else {
			sort = aws.ToString(k.AttributeName)
		}
	}
	return "(" + hash + ", " + sort + ")"
}
