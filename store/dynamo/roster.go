package dynamo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

var _ durable.Roster = (*Store)(nil)

// unescaper undoes escaper.
var unescaper = strings.NewReplacer("%25", "%", "%40", "@", "%23", "#")

// Enrol implements durable.Roster, in the item of the table's settings: a read,
// and a write only if one of mine is new.
func (s *Store) Enrol(ctx context.Context, mine [][2]string) ([][2]string, error) {
	m, err := s.get(ctx, settingsPK, settingsSK)
	if err != nil {
		return nil, err
	}
	known, _ := m[aDefinitions].(*types.AttributeValueMemberSS)
	if known == nil {
		known = &types.AttributeValueMemberSS{}
	}
	all := known.Value
	var missing []string
	for _, d := range mine {
		if name := escaper.Replace(d[0]) + "@" + escaper.Replace(d[1]); !slices.Contains(all, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		x := &expression{}
		in := &dynamodb.UpdateItemInput{
			TableName: &s.table, Key: keyOf(settingsPK, settingsSK),
			UpdateExpression: aws.String("ADD " + x.path(aDefinitions) + " " + x.value(&types.AttributeValueMemberSS{Value: missing})),
		}
		in.ExpressionAttributeNames, in.ExpressionAttributeValues = x.names, x.values
		if _, err := call(ctx, &s.caller, "UpdateItem", in, s.api.UpdateItem); err != nil {
			return nil, err
		}
		all = append(slices.Clone(all), missing...)
	}
	var out [][2]string
	for _, name := range all {
		definition, version, ok := strings.Cut(name, "@")
		if !ok {
			return nil, fmt.Errorf("dynamo: table %s: its settings name %q, which is no definition and version: remove it from attribute %s of the item with pk = %s", s.table, name, aDefinitions, settingsPK)
		}
		out = append(out, [2]string{unescaper.Replace(definition), unescaper.Replace(version)})
	}
	slices.SortFunc(out, func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return out, nil
}
