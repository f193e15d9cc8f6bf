package dynamo

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// maxChunk is how many bytes one item carries, well below the limit of 400 KB.
const maxChunk = 350 << 10

// Up to how many bytes the head itself carries a value. Every write of the
// head pays for all that is in it, so what stays there for long is small, and
// what comes with the last write may be large.
const (
	inlineInput = 512
	inlineState = 1 << 10 // detail and park
	inlineEnd   = 32 << 10
	inlineBody  = 256 // of a delivery: with MaxInbox of them, 16 KB
)

// errTorn: what the head names is not there.
var errTorn = errors.New("an item that the head names is missing")

// putChunks writes bytes under a sort key, in as many items as it takes, the
// first of them last. Names contain a digest of the bytes, so a repeat,
// however late, changes nothing.
func (s *Store) putChunks(ctx context.Context, id, creator, sk string, b []byte) error {
	chunks := max(1, (len(b)+maxChunk-1)/maxChunk)
	for n := chunks - 1; n >= 0; n-- {
		m := keyOf(pkOf(id), chunkKey(sk, n))
		m[aIncarnation] = text(incarnation(creator))
		m[sBytes] = binaryValue(b[n*maxChunk : min((n+1)*maxChunk, len(b))])
		if n == 0 && chunks > 1 {
			m[sChunks] = number(int64(chunks))
		}
		if err := s.put(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func binaryValue(b []byte) value { return &types.AttributeValueMemberB{Value: b} }

func chunkKey(sk string, n int) string {
	if n == 0 {
		return sk
	}
	return fmt.Sprintf("%s#%04d", sk, n)
}

// join puts the bytes under a sort key together again.
func join(found map[string]item, sk string) ([]byte, error) {
	r := &reader{item: found[sk]}
	b := r.bytes(sBytes)
	for n := 1; n < int(r.int(sChunks)); n++ {
		next := &reader{item: found[chunkKey(sk, n)]}
		if next.item == nil {
			return nil, errTorn
		}
		b = append(b, next.bytes(sBytes)...)
	}
	if r.item == nil {
		return nil, errTorn
	}
	return b, r.err
}

// spill returns bytes as they stand in the head: themselves up to limit, else
// a reference to items that it writes.
func (s *Store) spill(ctx context.Context, id, creator string, b []byte, limit int, inline func([]byte) value) (value, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) <= limit {
		return inline(b), nil
	}
	sk := skBlob + digest(b, []byte(creator))
	if err := s.putChunks(ctx, id, creator, sk, b); err != nil {
		return nil, err
	}
	return mapping(item{rName: text(sk)}), nil
}

func asBytes(b []byte) value { return binaryValue(b) }

func asText(b []byte) value { return text(string(b)) }

// fetch returns the bytes of a value that stands in the head, wherever they
// are, as a copy.
func (s *Store) fetch(ctx context.Context, id string, v value) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case *types.AttributeValueMemberB:
		return bytes.Clone(v.Value), nil
	case *types.AttributeValueMemberS:
		return []byte(v.Value), nil
	case *types.AttributeValueMemberM:
		return s.blob(ctx, id, (&reader{item: v.Value}).text(rName))
	}
	return nil, fmt.Errorf("a value is a %T", v)
}

// blob reads the blob of this sort key.
func (s *Store) blob(ctx context.Context, id, sk string) ([]byte, error) {
	found, err := s.items(ctx, id, sk)
	if err != nil {
		return nil, err
	}
	return join(found, sk)
}

// toJSON is the stored form of errors and parks: text, to be read in the
// console.
func toJSON[T any](v *T) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return json.Marshal(v)
}

func fromJSON[T any](b []byte) (*T, error) {
	if len(b) == 0 {
		return nil, nil
	}
	v := new(T)
	return v, json.Unmarshal(b, v)
}

// encodeBody packs what may be large of a delivery.
func encodeBody(d *durable.Delivery, failed []byte) (b []byte) {
	for _, part := range [][]byte{d.Payload, failed, []byte(d.Actor), []byte(d.Reason)} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return b
}

func decodeBody(b []byte) (parts [4][]byte, err error) {
	for i := range parts {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return parts, errors.New("a delivery is cut short")
		}
		parts[i], b = b[used:used+int(n)], b[used+int(n):]
	}
	return parts, nil
}
