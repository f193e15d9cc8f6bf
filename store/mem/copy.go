package mem

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/clewdev/clew/durable"
)

// plain returns t as it would come back from a disk: in UTC and without its
// monotonic reading.
func plain(t time.Time) time.Time { return t.Round(0).UTC() }

func copyIdentity(i durable.Identity) durable.Identity {
	i.Input, i.Digest = bytes.Clone(i.Input), bytes.Clone(i.Digest)
	i.Created, i.Deadline = plain(i.Created), plain(i.Deadline)
	i.Tags, i.Trace = maps.Clone(i.Tags), maps.Clone(i.Trace)
	return i
}

func copyError(e *durable.Error) *durable.Error {
	if e == nil {
		return nil
	}
	own := *e
	own.Data = bytes.Clone(e.Data)
	return &own
}

func copyPark(p *durable.Park) *durable.Park {
	if p == nil {
		return nil
	}
	own := *p
	own.Verbs = slices.Clone(p.Verbs)
	own.Since, own.At = plain(p.Since), plain(p.At)
	return &own
}

func copyHead(h durable.Head) durable.Head {
	h.Identity = copyIdentity(h.Identity)
	h.Park, h.Error, h.Result = copyPark(h.Park), copyError(h.Error), bytes.Clone(h.Result)
	return h
}

func copyEntries(entries []durable.Entry) []durable.Entry {
	own := slices.Clone(entries)
	for i := range own {
		e := &own[i]
		// The stored form of an entry keeps microseconds.
		e.At = plain(e.At.Truncate(time.Microsecond))
		e.Payload, e.Error = bytes.Clone(e.Payload), copyError(e.Error)
	}
	return own
}

func copyDelivery(d durable.Delivery) durable.Delivery {
	d.Now = plain(d.Now)
	d.Payload, d.Error = bytes.Clone(d.Payload), copyError(d.Error)
	return d
}

func copyDeliveries(deliveries []durable.Delivery) []durable.Delivery {
	own := slices.Clone(deliveries)
	for i := range own {
		own[i] = copyDelivery(own[i])
	}
	return own
}

// copyCommit leaves Open and Close as they are: the row reads their strings
// and keeps no part of the slices.
func copyCommit(c *durable.Commit) *durable.Commit {
	own := *c
	own.Now, own.Lease, own.Due = plain(c.Now), plain(c.Lease), plain(c.Due)
	own.Entries = copyEntries(c.Entries)
	own.Park, own.Error, own.Result = copyPark(c.Park), copyError(c.Error), bytes.Clone(c.Result)
	return &own
}

// copyRecord keeps the map of heartbeats, which row.record made.
func copyRecord(r durable.Record) *durable.Record {
	r.Head = copyHead(r.Head)
	r.Journal, r.Inbox = copyEntries(r.Journal), copyDeliveries(r.Inbox)
	return &r
}
