package participant

import "context"

// Books are where the four participants keep what they know: Files or a Table.
type Books interface {
	// read tells every row of every participant, in no order.
	read(context.Context, reader) error
	// orderOf returns the order of a key's first, right use, "" if there is none.
	orderOf(context.Context, Role, string) (string, error)
	watch(context.Context) (watcher, error)
}

// reader is told rows.
type reader interface {
	effect(Role, effect) error // an error ends the reading
	posting(posting)
	call(Role, callRow)
}
