package dynamo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"time"
)

// Attribute names. They count as bytes of each item, so they are short. On
// every item:
const (
	aPK          = "pk"  // S: E#<execution ID>
	aSK          = "sk"  // S: H for the head, else see the prefixes below
	aIncarnation = "i"   // S, on blobs and winners: digest of the creator's nonce
	aExpires     = "ttl" // N: Unix time in seconds after which the service may delete it
)

// On the head only. Absent is zero unless it says otherwise.
const (
	aFormat      = "f"  // N: format of the item, see format
	aDefinition  = "df" // S
	aVersion     = "vr" // S: of the definition
	aFingerprint = "fp" // S
	aInput       = "in" // B, or M when it is an item of its own
	aDigest      = "dg" // B
	aCreated     = "ct" // N: ms
	aDeadline    = "dl" // N: ms
	aExtras      = "m"  // B: durable.Identity.EncodeExtras
	aCreator     = "cw" // S: owner nonce of the Create
	aStatus      = "st" // N
	aDetail      = "dt" // S or M
	aPark        = "pa" // S (JSON) or M
	aResult      = "rs" // B or M
	aError       = "er" // S (JSON) or M
	aEnded       = "en" // N: ms
	aRevision    = "rv" // N
	aOwner       = "ow" // S, while running; absent under the claim of the Create. Released: its host, if it is another than the Create's
	aEpoch       = "e"  // N, also the number of activations
	aPrior       = "ps" // N: status that the last claim found
	aSeq         = "sq" // N
	aSafe        = "se" // N: safe epoch
	aNextSafe    = "sn" // N: safe epoch if it is claimed now
	aCrashes     = "cr" // N
	aNextCrashes = "x"  // N: crashes if it is claimed now
	aDelivered   = "nd" // N
	aSeen        = "ns" // N
	aInbox       = "ib" // L of M: unseen deliveries, the first one is number Seen+1
	aOpen        = "o"  // M: open callback key to N: last heartbeat in ms, 0 for none
	aWinners     = "w"  // M: delivery key to S: nonce of the winner
	aSpilled     = "ws" // N: how often winners were moved to items of their own
	aJournal     = "j"  // L of B: records of the journal, see record.encode
	aPosition    = "l"  // N: last position of the journal when the head was written
	aBase        = "b"  // N: positions up to this one are no part of the journal any more
	aBaseRev     = "br" // N: revision at that position
	aUsage       = "u"  // B: see bill.encode
	aDefinitions = "ds" // SS: of the settings only: every definition version that was ever served
	aDueHash     = "g"  // S: due partition and shard, key of the index due
	aDue         = "d"  // S: due time and ID, key of the index due; the lease end while running, and after the end when it may be deleted
	aAttention   = "a"  // S: shard, key of the index attention; parked records only
)

// Of a delivery in the inbox.
const (
	dKind    = "k" // N
	dKey     = "y" // S
	dNonce   = "n" // S
	dNow     = "t" // N: ms
	dRev     = "v" // N
	dPayload = "b" // B
	dError   = "e" // S (JSON)
	dActor   = "a" // S
	dReason  = "r" // S
	dItem    = "p" // M: the four above, in an item of their own
)

// Of records, blobs and spilled winners.
const (
	sBytes  = "b" // B
	sChunks = "c" // N: how many items hold the bytes; absent is 1
	sNonce  = "n" // S: of a winner
)

// Of references from the head to a blob.
const rName = "s" // S: sk of its first item

// Sort keys: the head, and what the others begin with.
const (
	skHead   = "H"
	skRecord = "J#" // J#<incarnation>#<position>
	skBlob   = "P#" // P#<digest>
	skWinner = "W#" // W#<incarnation>#<delivery key>
)

// Indexes.
const (
	indexDue       = "due"
	indexAttention = "attention"
)

// The item with the settings of a table.
const (
	settingsPK = "clew"
	settingsSK = "settings"
	aShards    = "n" // N: shards per due partition
)

// format is the version of all that is above. An item of a later one is left
// alone.
const format = 1

func pkOf(id string) string { return "E#" + id }

func idOf(pk string) string { return strings.TrimPrefix(pk, "E#") }

// The escapes keep two partitions apart whose names hold the separators.
var escaper = strings.NewReplacer("%", "%25", "@", "%40", "#", "%23")

func duePartition(definition, version string, shard int) string {
	return escaper.Replace(definition) + "@" + escaper.Replace(version) + "#" + strconv.Itoa(shard)
}

// shardOf spreads executions, because an index throttles, and through it the
// table, when one of its partitions takes all the writes.
func shardOf(id string, shards int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return int(h.Sum32() % uint32(shards))
}

// incarnation tells the items of an execution from those of an earlier one by
// the same ID, which may still be on their way out.
func incarnation(creator string) string { return digest(creator)[:12] }

// digest names bytes by their content, so that a write that is repeated, even
// much later, can only ever write the same again.
func digest[T string | []byte](parts ...T) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:", len(p)) // never fails
		_, _ = h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// maxMilli is the greatest time that 13 digits hold, in the year 2286.
const maxMilli = 9_999_999_999_999

// dueKey is the range key of the index due: the time in ms, rounded up, and
// the ID, so that the order of ties is the order of IDs and any key is a place
// to go on from.
func dueKey(due time.Time, id string) string { return milliKey(ceilMilli(due)) + " " + id }

func milliKey(ms int64) string { return fmt.Sprintf("%013d", min(max(ms, 0), maxMilli)) }

func parseDueKey(key string) (due time.Time, id string, err error) {
	ms, id, ok := strings.Cut(key, " ")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !ok {
		return due, "", fmt.Errorf("dynamo: %q is no due time", key)
	}
	return time.UnixMilli(n).UTC(), id, nil
}

// ceilMilli rounds up: who looks at that time finds the execution due.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 && ms < math.MaxInt64 {
		ms++
	}
	return ms
}
