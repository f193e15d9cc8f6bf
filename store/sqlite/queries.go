package sqlite

// query names a statement. Each connection prepares it on first use and keeps
// it.
type query int

const (
	qBegin query = iota
	qBeginRead
	qEnd
	qRollback
	qDefinition
	qAddDefinition

	qCreate
	qCreateBirth
	qCreator
	qAppend
	qDropJournal
	qBase
	qAdvance
	qTurn
	qWakeAt
	qSwap
	qEndOf
	qOpenKey
	qCloseKey
	qDropKey

	qState
	qKey
	qWin
	qBeat
	qPutInbox
	qDelivered
	qInbox
	qDrainInbox

	qHead
	qInput
	qEnding
	qJournal
	qBeats

	qDue
	qLater

	qOwners
	qOwner
	qAddOwner
	qDropOwner
	qClaimsOf
	qFreeClaim

	qDeleteExecution
	qDeleteBirth
	qDeleteEnd
	qDeleteInbox
	qDeleteKeys

	queryCount
)

// headColumns is what scanHead reads, up to the table of executions, and
// joinHead the other tables that it comes from.
const (
	headColumns = `e.n, e.id, d.name, d.version, b.fingerprint, b.digest, b.created, b.deadline, b.extras,
		e.status, e.detail, e.park, e.revision, e.base, e.due, e.owner, e.proc, e.epoch, e.seq, e.safe, e.crashes, e.delivered, e.seen
		FROM executions e `
	joinHead = `JOIN definitions d ON d.n = e.definition JOIN births b ON b.n = e.n `
)

var queries = [queryCount]string{
	qBegin:     `BEGIN IMMEDIATE`,
	qBeginRead: `BEGIN`,
	qEnd:       `COMMIT`,
	qRollback:  `ROLLBACK`,

	qDefinition:    `SELECT n FROM definitions WHERE name = ? AND version = ?`,
	qAddDefinition: `INSERT INTO definitions (name, version) VALUES (?, ?)`,

	qCreate: `INSERT INTO executions (id, definition, status, due, owner, proc, epoch, seq, safe, crashes, revision, delivered, seen, detail, park)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, 0, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
	qCreateBirth: `INSERT INTO births (n, creator, created, deadline, fingerprint, digest, extras, input) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
	qCreator:     `SELECT creator FROM births WHERE n = (SELECT n FROM executions WHERE id = ?)`,
	qAppend:      `INSERT INTO journal (n, batch) VALUES (?, ?)`,
	qDropJournal: `DELETE FROM journal WHERE n > ? AND n <= ?`,
	qBase:        `UPDATE executions SET base = ? WHERE n = ?`,

	// The two forms of a commit that is accepted. This one, for an execution
	// that runs on under the same lease, names no indexed column and so
	// costs no look at an index.
	qAdvance: `UPDATE executions SET seq = ?3, revision = revision + ?4, seen = max(seen, ?5), detail = ?6, park = ?7,
			crashes = CASE WHEN ?8 THEN 0 ELSE crashes END
		WHERE id = ?1 AND epoch = ?2 AND seq = ?3 - 1 AND status = 2
			AND (delivered <= ?5 OR NOT ?9) AND revision + ?4 <= 16777215
		RETURNING n, revision, delivered`,
	// due is ?11, or ?12 if deliveries wait.
	qTurn: `UPDATE executions SET seq = ?3, revision = revision + ?4, seen = max(seen, ?5), detail = ?6, park = ?7,
			crashes = CASE WHEN ?8 THEN 0 ELSE crashes END,
			status = ?10, due = CASE WHEN delivered > max(seen, ?5) THEN ?12 ELSE ?11 END,
			proc = CASE WHEN ?10 = 2 THEN proc ELSE 0 END
		WHERE id = ?1 AND epoch = ?2 AND seq = ?3 - 1 AND status = 2
			AND (delivered <= ?5 OR NOT ?9) AND revision + ?4 <= 16777215
		RETURNING n, revision, delivered`,
	qWakeAt: `UPDATE executions SET due = ? WHERE n = ?`,
	qSwap: `UPDATE executions SET status = 2, epoch = epoch + 1, seq = 0, owner = ?, proc = ?, due = ?, safe = ?, crashes = ?
		WHERE id = ? AND n = ? AND epoch = ? AND seq = ? AND status = ? AND due IS ? AND delivered = ?`,
	qEndOf: `INSERT INTO ends (n, ended, result, error) VALUES (?, ?, ?, ?)`,

	qOpenKey:  `INSERT INTO keys (execution, key, open) VALUES (?, ?, 1) ON CONFLICT (execution, key) DO UPDATE SET open = 1`,
	qDropKey:  `DELETE FROM keys WHERE execution = ? AND key = ? AND winner IS NULL`,
	qCloseKey: `UPDATE keys SET open = 0, beat = NULL WHERE execution = ? AND key = ?`,

	qState: `SELECT n, status, epoch, seq, revision, delivered, seen, due FROM executions WHERE id = ?`,
	qKey:   `SELECT open, winner FROM keys WHERE execution = ? AND key = ?`,
	qWin:   `INSERT INTO keys (execution, key, open, winner) VALUES (?, ?, 0, ?) ON CONFLICT (execution, key) DO UPDATE SET winner = excluded.winner`,
	qBeat:  `UPDATE keys SET beat = ? WHERE execution = ? AND key = ?`,
	qPutInbox: `INSERT INTO inbox (n, kind, key, nonce, at, payload, error, actor, reason, revision)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
	qDelivered:  `UPDATE executions SET delivered = ? WHERE n = ?`,
	qInbox:      `SELECT n, kind, key, nonce, at, payload, error, actor, reason, revision FROM inbox WHERE n > ? AND n <= ? ORDER BY n`,
	qDrainInbox: `DELETE FROM inbox WHERE n > ? AND n <= ?`,

	qHead:    `SELECT ` + headColumns + joinHead + `WHERE e.id = ?`,
	qInput:   `SELECT input FROM births WHERE n = ?`,
	qEnding:  `SELECT ended, result, error FROM ends WHERE n = ?`,
	qJournal: `SELECT batch FROM journal WHERE n > ? AND n <= ? ORDER BY n`,
	qBeats:   `SELECT key, beat FROM keys WHERE execution = ? AND beat IS NOT NULL`,

	qDue: `SELECT id, due, status FROM executions
		WHERE definition = (SELECT n FROM definitions WHERE name = ?1 AND version = ?2)
			AND due >= ?3 AND due <= ?4 AND (due > ?3 OR id > ?5)
		ORDER BY due, id LIMIT ?6`,
	qLater: `SELECT due FROM executions
		WHERE definition = (SELECT n FROM definitions WHERE name = ?1 AND version = ?2) AND due > ?3 AND proc = 0
		ORDER BY due LIMIT 1`,

	qOwners:    `SELECT n, file FROM owners WHERE n <> ? ORDER BY n`,
	qOwner:     `SELECT file FROM owners WHERE n = ?`,
	qAddOwner:  `INSERT INTO owners (file) VALUES (?)`,
	qDropOwner: `DELETE FROM owners WHERE n = ?`,
	qClaimsOf:  `SELECT n FROM executions INDEXED BY due WHERE due IS NOT NULL AND proc = ?`,
	qFreeClaim: `UPDATE executions SET due = min(due, ?) WHERE n = ? AND proc = ?`,

	qDeleteExecution: `DELETE FROM executions WHERE n = ?`,
	qDeleteBirth:     `DELETE FROM births WHERE n = ?`,
	qDeleteEnd:       `DELETE FROM ends WHERE n = ?`,
	qDeleteInbox:     `DELETE FROM inbox WHERE n > ? AND n <= ?`,
	qDeleteKeys:      `DELETE FROM keys WHERE execution = ?`,
}
