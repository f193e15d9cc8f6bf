package dynamo

import (
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// reader takes attributes out of an item and remembers its first mistake.
// What is not there is zero.
type reader struct {
	item item
	err  error
}

func attribute[T value](r *reader, name string) (v T) {
	stored, there := r.item[name]
	if !there {
		return v
	}
	v, ok := stored.(T)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("attribute %s is a %T, want a %T", name, stored, v)
	}
	return v
}

func (r *reader) text(name string) string {
	if v := attribute[*types.AttributeValueMemberS](r, name); v != nil {
		return v.Value
	}
	return ""
}

func (r *reader) bytes(name string) []byte {
	if v := attribute[*types.AttributeValueMemberB](r, name); v != nil {
		return v.Value
	}
	return nil
}

func (r *reader) int(name string) int64 {
	v := attribute[*types.AttributeValueMemberN](r, name)
	if v == nil {
		return 0
	}
	n, err := strconv.ParseInt(v.Value, 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("attribute %s: %w", name, err)
	}
	return n
}

func (r *reader) milli(name string) time.Time {
	if _, there := r.item[name]; !there {
		return time.Time{}
	}
	return time.UnixMilli(r.int(name)).UTC()
}

func (r *reader) list(name string) []value {
	if v := attribute[*types.AttributeValueMemberL](r, name); v != nil {
		return v.Value
	}
	return nil
}

func (r *reader) mapping(name string) item {
	if v := attribute[*types.AttributeValueMemberM](r, name); v != nil {
		return v.Value
	}
	return nil
}

// sizeOf is what an item counts for its limit and its price: about as the
// service does it, which documents the rules but for a byte here or there.
func sizeOf(m item) (n int) {
	for name, v := range m {
		n += len(name) + sizeOfValue(v)
	}
	return n
}

func sizeOfValue(v value) int {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 2
	case *types.AttributeValueMemberL:
		n := 3
		for _, e := range v.Value {
			n += 1 + sizeOfValue(e)
		}
		return n
	case *types.AttributeValueMemberM:
		return 3 + len(v.Value) + sizeOf(v.Value)
	}
	return 1
}
