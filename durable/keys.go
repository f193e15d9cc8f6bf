package durable

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// Keys derives the idempotency keys of an execution's operations from its record,
// which must have been loaded whole (LoadAll): by the operations' numbers, those
// of the current run. A layer may have given an operation another (WithKey); that
// the journal does not tell. Operations in flat branches of Parallel and Map are
// left out, because the journal does not have the branches' names.
func Keys(rec *Record) (map[int64]string, error) {
	j := newJournal()
	if err := j.load(rec.Journal); err != nil {
		return nil, fmt.Errorf("keys of %q: %w", rec.ID, err)
	}
	p := &paths{journal: &j, of: map[int64]string{}, labels: labelsOf(rec.Journal)}
	scopes := map[scopeID][]*operation{}
	var order []scopeID // parents come before what stands in them
	for _, op := range j.ops {
		if op.id.scope == ScopeForward {
			if scopes[op.id.scopeID] == nil {
				order = append(order, op.id.scopeID)
			}
			scopes[op.id.scopeID] = append(scopes[op.id.scopeID], op)
		}
	}
	for _, id := range order {
		p.place(id, scopes[id])
	}
	keys := map[int64]string{}
	for num, path := range p.of {
		keys[num] = escape(rec.ID) + "/" + strconv.FormatInt(j.run, 10) + "/" + path
	}
	return keys, nil
}

// paths finds the paths of operations, as a replay of their code would.
type paths struct {
	journal *journal
	of      map[int64]string
	labels  map[int64][]string // of the branches of groups
}

// labelsOf are the names of the branches of groups, by the groups' numbers.
func labelsOf(entries []Entry) map[int64][]string {
	all := map[int64][]string{}
	for i := range entries {
		e := &entries[i]
		var labels []string
		switch {
		case e.Kind == EntryContinued:
			clear(all)
		case e.First && e.Type == OpContext && len(e.Payload) > 0 && json.Unmarshal(e.Payload, &labels) == nil:
			all[e.Op] = labels
		}
	}
	return all
}

// place finds the paths of the operations of one scope.
func (p *paths) place(id scopeID, ops []*operation) {
	prefix, known := p.prefix(id)
	if !known {
		return
	}
	slices.SortFunc(ops, func(a, b *operation) int { return cmp.Compare(a.id.pos, b.id.pos) })
	s := &scope{id: id, path: prefix, names: map[string]int{}}
	for _, op := range ops {
		k := &call{c: &Context{scope: s}, sub: op.subtype, name: op.name}
		k.place(op.id.pos)
		p.of[op.num] = k.path
	}
}

// prefix is what the paths in a scope begin with.
func (p *paths) prefix(id scopeID) (string, bool) {
	if id.parent == 0 && id.branch == 0 {
		return "", true
	}
	up, known := p.of[id.parent]
	switch op := p.operation(id.parent); {
	case !known || op == nil:
		return "", false
	case id.branch == 0:
		return up + "/", true
	case !op.holdsSteps(): // flat branches
		return "", false
	}
	return up + "/" + labelOf(p.labels[id.parent], int(id.branch)) + "/", true
}

func (p *paths) operation(num int64) *operation {
	if num < 1 || num > int64(len(p.journal.ops)) {
		return nil
	}
	return p.journal.ops[num-1]
}

// labelOf is the n-th branch of a group in paths, from 1.
func labelOf(labels []string, n int) string {
	if n <= len(labels) && labels[n-1] != "" {
		return escape(labels[n-1])
	}
	return "#" + strconv.Itoa(n)
}
