package dynamo

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// The bill. Whoever holds a claim adds up what the service says of each of its
// requests, and every write of the head carries the sum of those before it.
// The write itself, and what others write into the head afterwards, follows
// from the head: each costs by its size, and moves the entry in the index due
// in a way that is known.

// Bills implements durable.Biller.
func (s *Store) Bills() bool { return true }

// capacity asks each request what it consumed, indexes apart.
const capacity = types.ReturnConsumedCapacityIndexes

// unitBytes is how much of an item one write unit pays for.
const unitBytes = 1 << 10

func unitsOf(size int) int64 { return max(1, int64((size+unitBytes-1)/unitBytes)) }

// tally adds up what requests consume. It travels in the context of a call.
type tally struct {
	mu   sync.Mutex
	used durable.Usage
}

type tallyKey struct{}

// tallied returns a context in which requests are counted, with the count.
func tallied(ctx context.Context) (context.Context, *tally) {
	t := &tally{}
	return context.WithValue(ctx, tallyKey{}, t), t
}

func (t *tally) sum() durable.Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// take returns the sum, and begins a new one.
func (t *tally) take() durable.Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.used
	t.used = durable.Usage{}
	return u
}

// spentSoFar is the sum of the tally in a context.
func spentSoFar(ctx context.Context) durable.Usage {
	if t, _ := ctx.Value(tallyKey{}).(*tally); t != nil {
		return t.sum()
	}
	return durable.Usage{}
}

// count adds one attempt of a request to the tally of its context.
func count(ctx context.Context, in, out any, err error) {
	t, _ := ctx.Value(tallyKey{}).(*tally)
	if t == nil {
		return
	}
	var u durable.Usage
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		u = consumed(in, out)
	case errors.As(err, &failed): // charged by what stood in the way, of which no answer tells the price
		u.WriteUnits = unitsOf(sizeOf(failed.Item))
	default:
		return // it may not have reached the service
	}
	u.Requests = 1
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used.Add(u)
}

func consumed(in, out any) durable.Usage {
	switch out := out.(type) {
	case *dynamodb.PutItemOutput:
		return written(out.ConsumedCapacity, in.(*dynamodb.PutItemInput).Item)
	case *dynamodb.UpdateItemOutput:
		return written(out.ConsumedCapacity, out.Attributes)
	case *dynamodb.DeleteItemOutput:
		return written(out.ConsumedCapacity, nil)
	case *dynamodb.GetItemOutput:
		return durable.Usage{ReadUnits: units(out.ConsumedCapacity)}
	case *dynamodb.QueryOutput:
		return durable.Usage{ReadUnits: units(out.ConsumedCapacity)}
	}
	return durable.Usage{}
}

func written(c *types.ConsumedCapacity, m item) durable.Usage {
	u := durable.Usage{Bytes: int64(sizeOf(m))}
	if c == nil {
		return u
	}
	for _, index := range c.GlobalSecondaryIndexes {
		u.IndexUnits += int64(aws.ToFloat64(index.CapacityUnits))
	}
	u.WriteUnits = int64(units(c)) - u.IndexUnits
	return u
}

func units(c *types.ConsumedCapacity) float64 {
	if c == nil {
		return 0
	}
	return aws.ToFloat64(c.CapacityUnits)
}

// bill is the sum as a write of the head carries it.
type bill struct {
	before    durable.Usage // all that came before this write
	index     int64         // index units of this write
	wake      int64         // index units of the delivery that wakes the execution after it
	epoch     int64         // of the head after this write, to count the claims since
	delivered int64         // likewise, to count the deliveries
}

func (b *bill) encode() (out []byte) {
	for _, n := range [...]int64{
		b.before.Requests, b.before.WriteUnits, b.before.IndexUnits, int64(2 * b.before.ReadUnits), b.before.Bytes,
		b.index, b.wake, b.epoch, b.delivered,
	} {
		out = binary.AppendUvarint(out, uint64(n))
	}
	return out
}

func decodeBill(in []byte) (b bill, err error) {
	var reads int64
	for _, n := range [...]*int64{
		&b.before.Requests, &b.before.WriteUnits, &b.before.IndexUnits, &reads, &b.before.Bytes,
		&b.index, &b.wake, &b.epoch, &b.delivered,
	} {
		v, used := binary.Uvarint(in)
		if used <= 0 {
			return b, errors.New("the bill is cut short")
		}
		*n, in = int64(v), in[used:]
	}
	b.before.ReadUnits = float64(reads) / 2
	return b, nil
}

// indexMove is what a claim costs in the index due: the old entry goes and a
// new one comes.
const indexMove = 2

// total is the bill by now, of a head of this size in which others have
// written since.
func (b *bill) total(h *head) durable.Usage {
	size := h.size
	for i := range h.inbox {
		if h.Seen+int64(i) >= b.delivered {
			size -= h.delivered(i)
		}
	}
	u := b.before
	u.Add(usageOf(size))
	u.IndexUnits += b.index
	for i := range h.Delivered - b.delivered {
		if n := b.delivered + i - h.Seen; n >= 0 {
			size += h.delivered(int(n))
		}
		u.Add(usageOf(size))
		switch {
		case b.wake == 0: // it ran
			u.Add(usageOf(recordBytes))
		case i == 0:
			u.IndexUnits += b.wake
		}
	}
	for range h.Epoch - b.epoch {
		u.Add(usageOf(h.size))
		u.IndexUnits += indexMove
	}
	return u
}

// delivered is about by how much entry i of the inbox has made the head
// larger, with what the record remembers of its winner.
func (h *head) delivered(i int) int {
	r := &reader{item: h.inbox[i]}
	return 1 + sizeOfValue(mapping(h.inbox[i])) + 1 + len(r.text(dKey)) + len(r.text(dNonce))
}

// usageOf is one write of an item of this size.
func usageOf(size int) durable.Usage {
	return durable.Usage{Requests: 1, WriteUnits: unitsOf(size), Bytes: int64(size)}
}

// recordBytes is about what an item with one record has besides its batch.
const recordBytes = 100
