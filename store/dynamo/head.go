package dynamo

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/clewdev/clew/durable"
)

// head is the head item of an execution, decoded as far as rules look at it.
// What may lie in an item of its own is in its stored form.
type head struct {
	durable.Head // without what is listed below in its stored form

	input, detail, park, result, failure value

	creator     string
	prior       durable.Status // before the last claim
	nextSafe    int64
	nextCrashes int64
	inbox       []item
	open        map[string]int64
	winners     map[string]string
	spilled     int64
	journal     []record // those in the head
	position    int64    // the last one of the journal
	base        int64    // the one before its first
	baseRev     int64    // revision there
	headSeq     int64    // of the commit that wrote the head last; Seq may be further on
	partition   string   // hash key in the index due
	dueKey      string   // range key there
	size        int

	used durable.Usage // by now, as far as it is known here
}

// decodeHead reads a head. An item of a newer version is an error for a
// person: nothing can be known about it.
func (s *Store) decodeHead(m item) (*head, error) {
	r := &reader{item: m}
	id := idOf(r.text(aPK))
	if f := r.int(aFormat); f > format {
		return nil, broken(s.table, fmt.Sprintf("reading execution %q", id), "it was written by a newer clew, in format %d, and this build reads %d: deploy a build that is as new", f, format)
	}
	h := &head{
		creator: r.text(aCreator), prior: durable.Status(r.int(aPrior)), nextSafe: r.int(aNextSafe), nextCrashes: r.int(aNextCrashes), spilled: r.int(aSpilled),
		input: m[aInput], detail: m[aDetail], park: m[aPark], result: m[aResult], failure: m[aError],
		position: r.int(aPosition), base: r.int(aBase), baseRev: r.int(aBaseRev), partition: r.text(aDueHash), dueKey: r.text(aDue), size: sizeOf(m),
	}
	h.Identity = durable.Identity{
		ID: id, Definition: r.text(aDefinition), Version: r.text(aVersion), Fingerprint: r.text(aFingerprint),
		Digest: r.bytes(aDigest), Created: r.milli(aCreated), Deadline: r.milli(aDeadline),
	}
	h.Status, h.Ended = durable.Status(r.int(aStatus)), r.milli(aEnded)
	h.Revision, h.Epoch, h.Seq = r.int(aRevision), r.int(aEpoch), r.int(aSeq)
	h.headSeq = h.Seq
	h.Activations, h.SafeEpoch, h.Crashes = h.Epoch, r.int(aSafe), int(r.int(aCrashes))
	h.Delivered, h.Seen = r.int(aDelivered), r.int(aSeen)
	h.readClaim(r)
	h.readLists(r)
	h.readBill(r)
	if err := h.DecodeExtras(r.bytes(aExtras)); err != nil {
		r.err = firstOf(r.err, err)
	}
	if r.err != nil {
		return nil, broken(s.table, fmt.Sprintf("reading execution %q", id), "its head is damaged (%v): restore it from a backup", r.err)
	}
	return h, nil
}

// readClaim reads due, lease and owner. While it runs, due is the lease end;
// under the claim that it was born with, the owner is its creator.
func (h *head) readClaim(r *reader) {
	if h.dueKey != "" {
		due, _, err := parseDueKey(h.dueKey)
		if err != nil && r.err == nil {
			r.err = err
		}
		h.Due = due
	}
	if h.Owner = r.text(aOwner); h.Owner == "" && h.Epoch > 0 {
		h.Owner = h.creator
	}
	if h.Status == durable.StatusRunning {
		h.Lease = h.Due
	}
}

func (h *head) readLists(r *reader) {
	for _, v := range r.list(aJournal) {
		b, ok := v.(*types.AttributeValueMemberB)
		if !ok {
			r.err = fmt.Errorf("a journal batch is a %T", v)
			return
		}
		records, err := decodeRecords(b.Value)
		if err != nil {
			r.err = err
			return
		}
		h.journal = append(h.journal, records...)
	}
	for _, v := range r.list(aInbox) {
		m, ok := v.(*types.AttributeValueMemberM)
		if !ok {
			r.err = fmt.Errorf("a delivery is a %T", v)
			return
		}
		h.inbox = append(h.inbox, m.Value)
	}
	open := reader{item: r.mapping(aOpen)}
	h.open = make(map[string]int64, len(open.item))
	for key := range open.item {
		h.open[key] = open.int(key)
	}
	winners := reader{item: r.mapping(aWinners)}
	h.winners = make(map[string]string, len(winners.item))
	for key := range winners.item {
		h.winners[key] = winners.text(key)
	}
	if r.err == nil {
		r.err = firstOf(open.err, winners.err)
	}
}

func (h *head) readBill(r *reader) {
	if b := r.bytes(aUsage); b != nil {
		bill, err := decodeBill(b)
		if err != nil && r.err == nil {
			r.err = err
		}
		h.used = bill.total(h)
	}
}

// released tells whether the last write to a head ended a claim, so that
// nobody has appended since.
func (h *head) released() bool { return h.Status != durable.StatusRunning }

// same tells whether a head that was read again has not been written since, as
// far as the journal is concerned.
func (h *head) same(as *head) bool {
	return as != nil && h.Epoch == as.Epoch && h.headSeq == as.headSeq && h.Status == as.Status && h.creator == as.creator
}

// inherit takes over what is known of the head before this one and does not
// stand in the head: what was appended since, and the bill, of which spent is
// new.
func (h *head) inherit(from *head, spent durable.Usage) {
	if h.headSeq == from.headSeq && h.Epoch == from.Epoch && h.position < from.position {
		h.position, h.Seq, h.Revision = from.position, from.Seq, from.Revision
	}
	h.used = from.used
	h.used.Add(spent)
	for range h.Delivered - from.Delivered {
		h.used.Add(usageOf(h.size))
		h.used.Add(usageOf(recordBytes)) // the notice
	}
}

// heartbeats are the last ones by callback key.
func (h *head) heartbeats() map[string]time.Time {
	beats := map[string]time.Time{}
	for key, ms := range h.open {
		if ms != 0 {
			beats[key] = time.UnixMilli(ms).UTC()
		}
	}
	return beats
}

// waits tells whether a delivery after seen would make a record due that is
// released with this status.
func (h *head) waits(seen int64, status durable.Status) bool {
	for i, m := range h.inbox {
		kind := durable.DeliveryKind((&reader{item: m}).int(dKind))
		if h.Seen+int64(i)+1 > seen && (status != durable.StatusParked || kind == durable.DeliverVerb) {
			return true
		}
	}
	return false
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
