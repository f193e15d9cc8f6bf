package dynamo

import (
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type (
	value = types.AttributeValue
	item  = map[string]types.AttributeValue
)

func text(s string) value { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) value { return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)} }

func list(v ...value) value { return &types.AttributeValueMemberL{Value: v} }

func mapping(m item) value { return &types.AttributeValueMemberM{Value: m} }

func milli(t time.Time) value { return number(t.UnixMilli()) }

func keyOf(pk, sk string) item { return item{aPK: text(pk), aSK: text(sk)} }

// expression collects the names and values that expressions refer to. All
// names go through placeholders: some of ours are reserved words.
type expression struct {
	names  map[string]string
	values item
	conds  []string
}

// path is the placeholder of an attribute.
func (x *expression) path(attribute string) string {
	p := "#" + attribute
	x.name(p, attribute)
	return p
}

// entry is the path of a key in a map attribute. Keys are any text, so their
// placeholders are numbers.
func (x *expression) entry(attribute, key string) string {
	for p, name := range x.names {
		if name == key && p[1] == '_' {
			return x.path(attribute) + "." + p
		}
	}
	p := "#_" + strconv.Itoa(len(x.names))
	x.name(p, key)
	return x.path(attribute) + "." + p
}

func (x *expression) name(placeholder, name string) {
	if x.names == nil {
		x.names = map[string]string{}
	}
	x.names[placeholder] = name
}

func (x *expression) value(v value) string {
	if x.values == nil {
		x.values = item{}
	}
	p := ":" + strconv.Itoa(len(x.values))
	x.values[p] = v
	return p
}

// where adds a condition "attribute op value".
func (x *expression) where(attribute, op string, v value) {
	x.conds = append(x.conds, x.path(attribute)+" "+op+" "+x.value(v))
}

func (x *expression) whereExists(path string) {
	x.conds = append(x.conds, "attribute_exists("+path+")")
}
func (x *expression) whereNotExists(path string) {
	x.conds = append(x.conds, "attribute_not_exists("+path+")")
}

func (x *expression) condition() *string {
	if len(x.conds) == 0 {
		return nil
	}
	return aws.String(strings.Join(x.conds, " AND "))
}

// update is an UpdateItem in the making.
type update struct {
	expression
	sets, removes []string
}

func (u *update) set(attribute string, v value) { u.assign(u.path(attribute), u.value(v)) }

func (u *update) assign(path, to string) { u.sets = append(u.sets, path+" = "+to) }

func (u *update) remove(attribute string) { u.removes = append(u.removes, u.path(attribute)) }

// appendTo appends to a list attribute.
func (u *update) appendTo(attribute string, v value) {
	p := u.path(attribute)
	u.assign(p, "list_append("+p+", "+u.value(list(v))+")")
}

// input is the request, for the head of an execution. It returns the whole
// item afterwards, or the one that failed the condition, at no charge.
func (u *update) input(table, id string) *dynamodb.UpdateItemInput {
	var b strings.Builder
	if len(u.sets) > 0 {
		b.WriteString("SET " + strings.Join(u.sets, ", "))
	}
	if len(u.removes) > 0 {
		b.WriteString(" REMOVE " + strings.Join(u.removes, ", "))
	}
	return &dynamodb.UpdateItemInput{
		TableName:                           &table,
		Key:                                 keyOf(pkOf(id), skHead),
		UpdateExpression:                    aws.String(b.String()),
		ConditionExpression:                 u.condition(),
		ExpressionAttributeNames:            u.names,
		ExpressionAttributeValues:           u.values,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnConsumedCapacity:              capacity,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
}
