package dynamo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/clewdev/clew/durable"
)

// firstLook is how many entries of a shard a poll reads first: what is due, if
// little is, and the next one after it, in the least that a read costs.
const firstLook = 16

// Due implements durable.Store: one Query for each shard of the index, however
// much is running or waits for its time. The index follows the table within
// moments, so what it lists may be taken already, which the claim finds out.
func (s *Store) Due(ctx context.Context, q *durable.DueQuery) (page durable.DuePage, err error) {
	if q.Cursor != "" {
		if _, _, err := parseDueKey(q.Cursor); err != nil {
			return page, fmt.Errorf("%w: %w", err, durable.ErrInvalid)
		}
	}
	limit := limitOf(q.Limit)
	s.refresh(ctx, q.Now)
	shards := make([]shardPage, s.shards.Load())
	var wg sync.WaitGroup
	for n := range shards {
		wg.Go(func() {
			shards[n] = s.dueShard(ctx, duePartition(q.Definition, q.Version, n), q, limit+1)
		})
	}
	wg.Wait()
	var due []dueRow
	for _, shard := range shards {
		if shard.err != nil {
			return durable.DuePage{}, shard.err
		}
		due = append(due, shard.due...)
		if !shard.later.IsZero() && (page.Later.IsZero() || shard.later.Before(page.Later)) {
			page.Later = shard.later
		}
	}
	slices.SortFunc(due, func(a, b dueRow) int { return strings.Compare(a.key, b.key) })
	if len(due) > limit {
		due = due[:limit]
		page.Next = due[limit-1].key
	}
	for _, d := range due {
		at, id, err := parseDueKey(d.key)
		if err != nil {
			return durable.DuePage{}, err
		}
		page.Entries = append(page.Entries, durable.DueEntry{ID: id, At: at, Running: d.running})
	}
	return page, nil
}

// dueRow is where an execution stands in a shard of the index.
type dueRow struct {
	key     string
	running bool
}

// shardPage is what one shard has of a page, in order.
type shardPage struct {
	due   []dueRow
	later time.Time
	err   error
}

// dueShard reads along a shard until the page is full or the present is over.
func (s *Store) dueShard(ctx context.Context, partition string, q *durable.DueQuery, limit int) (page shardPage) {
	x := &expression{}
	x.where(aDueHash, "=", text(partition))
	if q.Cursor != "" {
		x.where(aDue, ">", text(q.Cursor))
	}
	in := &dynamodb.QueryInput{
		TableName: &s.table, IndexName: aws.String(indexDue), Limit: aws.Int32(int32(min(limit, firstLook))),
		KeyConditionExpression:   x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
	}
	end := milliKey(q.Now.UnixMilli() + 1)
	for over := false; ; {
		out, err := call(ctx, &s.caller, "Query", in, s.api.Query)
		if err != nil {
			return shardPage{err: err}
		}
		for _, m := range out.Items {
			r := &reader{item: m}
			key := r.text(aDue)
			running := r.int(aStatus) == int64(durable.StatusRunning)
			if key >= end {
				if running {
					over = true
					continue
				}
				page.later, _, page.err = parseDueKey(key)
				return page
			}
			if page.due = append(page.due, dueRow{key, running}); len(page.due) == limit {
				return page
			}
		}
		if over || len(out.LastEvaluatedKey) == 0 {
			return page // what waits may be further on, which a hint is not worth
		}
		in.ExclusiveStartKey, in.Limit = out.LastEvaluatedKey, aws.Int32(int32(min(limit, 1000)))
	}
}

// List implements durable.Store. Parked executions have an index; any other
// list scans the table, each page of it from its beginning, and costs by the
// size of the table.
func (s *Store) List(ctx context.Context, q *durable.ListQuery) (page durable.ListPage, err error) {
	limit := limitOf(q.Limit)
	var heads []*head
	if len(q.Statuses) == 1 && q.Statuses[0] == durable.StatusParked {
		heads, err = s.parked(ctx, q, limit+1)
	} else {
		heads, err = s.scan(ctx, q, limit+1)
	}
	if err != nil {
		return page, err
	}
	if len(heads) > limit {
		heads = heads[:limit]
		page.Next = heads[limit-1].ID
	}
	for _, h := range heads {
		full := h.Head
		full.Usage = h.used
		if err := s.state(ctx, h, &full); err != nil {
			if err = s.torn(ctx, h, err); err == durable.ErrNotFound {
				continue // deleted meanwhile
			}
			return durable.ListPage{}, err
		}
		page.Heads = append(page.Heads, full)
	}
	return page, nil
}

// scan returns the first heads after the cursor that match, in order of ID. A
// scan has no order, so it goes to the end of the table and keeps the least.
func (s *Store) scan(ctx context.Context, q *durable.ListQuery, limit int) (heads []*head, err error) {
	x := scanFilter(q)
	in := &dynamodb.ScanInput{
		TableName: &s.table, FilterExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
	}
	for {
		out, err := call(ctx, &s.caller, "Scan", in, s.api.Scan)
		if err != nil {
			return nil, err
		}
		for _, m := range out.Items {
			h, err := s.listed(m)
			if err != nil {
				return nil, err
			}
			if q.Matches(&h.Head) { // tags are no attributes that a filter sees
				heads = append(heads, h)
			}
		}
		slices.SortFunc(heads, func(a, b *head) int { return cmp.Compare(a.ID, b.ID) })
		heads = heads[:min(len(heads), limit)]
		if len(out.LastEvaluatedKey) == 0 {
			return heads, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// scanFilter lets the service leave out what it can tell from attributes. It
// reads, and charges, the same.
func scanFilter(q *durable.ListQuery) *expression {
	x := &expression{}
	x.where(aSK, "=", text(skHead))
	if q.Cursor != "" {
		x.where(aPK, ">", text(pkOf(q.Cursor)))
	}
	if q.Definition != "" {
		x.where(aDefinition, "=", text(q.Definition))
	}
	if len(q.Statuses) > 0 {
		var any []string
		for _, status := range q.Statuses {
			any = append(any, x.value(number(int64(status))))
		}
		x.conds = append(x.conds, x.path(aStatus)+" IN ("+strings.Join(any, ", ")+")")
	}
	if !q.From.IsZero() {
		x.where(aCreated, ">=", number(ceilMilli(q.From)))
	}
	if !q.To.IsZero() { // what was never given a time was before any
		created := x.path(aCreated)
		x.conds = append(x.conds, "(attribute_not_exists("+created+") OR "+created+" < "+x.value(number(ceilMilli(q.To)))+")")
	}
	if !q.EndedFrom.IsZero() {
		x.where(aEnded, ">=", number(ceilMilli(q.EndedFrom)))
	}
	if !q.EndedTo.IsZero() {
		x.where(aEnded, "<", number(ceilMilli(q.EndedTo)))
	}
	return x
}

// listed decodes a head for a list, in which one that a newer build wrote must
// not hide the others: it says so itself.
func (s *Store) listed(m item) (*head, error) {
	r := &reader{item: m}
	f := r.int(aFormat)
	if f <= format || r.err != nil {
		return s.decodeHead(m)
	}
	h := &head{detail: text(fmt.Sprintf("written by a newer clew, in format %d: deploy a build that is as new to see it", f))}
	h.Identity = durable.Identity{ID: idOf(r.text(aPK)), Definition: r.text(aDefinition), Version: r.text(aVersion), Created: r.milli(aCreated)}
	h.Status = durable.Status(r.int(aStatus))
	return h, nil
}

// parked finds parked executions by their index, whose range key is the ID.
func (s *Store) parked(ctx context.Context, q *durable.ListQuery, limit int) (heads []*head, err error) {
	for n := range s.shards.Load() {
		x := &expression{}
		x.where(aAttention, "=", text(fmt.Sprint(n)))
		if q.Cursor != "" {
			x.where(aPK, ">", text(pkOf(q.Cursor)))
		}
		in := &dynamodb.QueryInput{
			TableName: &s.table, IndexName: aws.String(indexAttention), Limit: aws.Int32(int32(min(limit, 1000))),
			KeyConditionExpression:   x.condition(),
			ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		}
		for found := 0; found < limit; {
			out, err := call(ctx, &s.caller, "Query", in, s.api.Query)
			if err != nil {
				return nil, err
			}
			for _, m := range out.Items {
				m, err := s.get(ctx, (&reader{item: m}).text(aPK), skHead)
				if err != nil {
					return nil, err
				}
				if len(m) == 0 {
					continue
				}
				h, err := s.listed(m)
				if err != nil {
					return nil, err
				}
				if q.Matches(&h.Head) {
					heads = append(heads, h)
					found++
				}
			}
			if len(out.LastEvaluatedKey) == 0 {
				break
			}
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
	}
	slices.SortFunc(heads, func(a, b *head) int { return cmp.Compare(a.ID, b.ID) })
	return heads[:min(len(heads), limit)], nil
}

// limitOf is the most that a page of a query with this limit holds.
func limitOf(limit int) int {
	if limit <= 0 {
		return 100
	}
	return limit
}
