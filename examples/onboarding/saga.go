package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// Hire is the input of the saga.
type Hire struct {
	ID      string `json:"id"` // the saga's own, which counts
	Name    string `json:"name"`
	Email   string `json:"email"`   // private, until there is a mailbox
	Manager string `json:"manager"` // mail address
	Laptop  string `json:"laptop"`  // model
}

// errHire: nobody can be hired so.
var errHire = errors.New("no such hire")

// check says what is wrong with a hire: whoever may invoke the function can send
// anything.
func (h Hire) check() error {
	switch {
	case slug(h.Name) == "" || len(h.Name) > 200:
		return fmt.Errorf("%w: the name %.200q needs letters or digits, and has up to 200 bytes", errHire, h.Name)
	case !slices.Contains(laptops, h.Laptop):
		return fmt.Errorf("%w: laptop %.200q is none of: %s", errHire, h.Laptop, strings.Join(laptops, "; "))
	case !strings.Contains(h.Manager, "@") || len(h.Manager) > 100:
		return fmt.Errorf("%w: manager %.200q is no mail address of up to 100 bytes", errHire, h.Manager)
	case !strings.Contains(h.Email, "@") || len(h.Email) > 200:
		return fmt.Errorf("%w: email %.200q is no mail address of up to 200 bytes", errHire, h.Email)
	}
	return nil
}

// Welcome is what a hire who has come through ends with.
type Welcome struct {
	Account    string `json:"account"`
	ApprovedBy string `json:"approved_by"`
	Mailbox    string `json:"mailbox"`
	Laptop     string `json:"laptop"`
}

// Answer is what an identity check that was passed, and an approval, come back
// with.
type Answer struct {
	By string `json:"by"`
}

// Effect is something that is done for a hire in the outside world.
type Effect struct {
	Hire     string `json:"hire"` // ID
	Kind     string `json:"kind"`
	To       string `json:"to,omitempty"` // of a mail
	Text     string `json:"text"`
	Callback string `json:"callback,omitempty"` // what to answer under
}

// The kinds of effects. Each but the reminder stands exactly once for a hire who
// was welcomed, and not at all for one who was not.
const (
	kindAccount   = "account"
	kindCheck     = "identity check"
	kindRequest   = "approval request"
	kindDirectory = "directory entry"
	kindMailbox   = "mailbox"
	kindLaptop    = "laptop order"
	kindWelcome   = "welcome mail"
	kindReminder  = "reminder"
)

// kinds are all of them but the reminder.
var kinds = []string{kindAccount, kindCheck, kindRequest, kindDirectory, kindMailbox, kindLaptop, kindWelcome}

// outside is what the saga needs of the outside world: accounts, an identity
// provider, directory, mailboxes, a laptop shop, an outbox of mails. Each method
// is one atomic write of one row by its key; *books is one over SQLite.
type outside interface {
	// Do has an effect under an idempotency key, once, and returns its ID, the
	// same on every repeat. errRefused means that it has no effect and never will
	// have: what was asked for is not to be had, or the key was undone.
	Do(ctx context.Context, key string, e Effect) (id string, err error)
	// Undo takes back what was done under a key, and refuses that key from then
	// on, also if nothing was done under it yet.
	Undo(ctx context.Context, forwardKey string) error
	// Settle tells whether something was done under a key. If not, it never will
	// be: the key is refused from then on.
	Settle(ctx context.Context, key string) (id string, done bool, err error)
}

var errRefused = errors.New("refused")

// definition is the saga's name.
const definition = "onboarding"

// deps are what the saga depends on.
type deps struct {
	outside outside
	day     time.Duration // 24 hours, or less for whoever has no time
	slow    time.Duration // what a call to the outside world takes, besides the usual
}

// usual bounds a call to the outside world. The timeout of a function has to be
// longer, by the two seconds that its host keeps for itself, and what a killed
// process was doing is not done again before.
const usual = 6 * time.Second

// onboard declares the saga: open an account, have the identity checked, ask the
// manager, provide what a hire needs, and welcome.
//
// The welcome is the pivot. It is the first thing that cannot be taken back, a
// promise to a person, and all that can refuse comes before it: until then a
// refusal, a deadline or a cancel undoes everything. Once it may have been sent,
// none of them may take account and laptop away from somebody who was told to come
// on Monday.
func onboard(d deps) (*saga.Saga[Hire, Welcome], error) {
	retry := durable.Retry{Initial: 200 * time.Millisecond, Max: time.Minute}
	attempt := usual + d.slow
	within := saga.UndoTimeout(attempt)
	b := saga.New[Hire, Welcome](definition, "1")

	account := saga.Step(b, "account", d.does(func(_ saga.Context, h Hire) Effect {
		return Effect{Kind: kindAccount, Text: login(h)}
	})).Retry(retry).Timeout(attempt).Undo(d.undoes, within)

	saga.Await[Answer](b, "identity check", d.asks(func(h Hire, callbackID string) Effect {
		return Effect{Kind: kindCheck, Text: "Who is " + h.Name + "?", Callback: callbackID}
	})).Retry(retry).AskTimeout(attempt).Timeout(3*d.day).Heartbeat(d.day*3/2).Remind(d.day, d.asks(func(h Hire, _ string) Effect {
		return Effect{Kind: kindReminder, To: h.Email, Text: "Please show your passport to the identity provider."}
	})).Undo(undoing[Answer](d), within) // the provider closes the case and forgets the documents

	approved := saga.Await[Answer](b, "approval", d.asks(func(h Hire, callbackID string) Effect {
		return Effect{Kind: kindRequest, To: h.Manager, Text: "Please approve that " + h.Name + " joins.", Callback: callbackID}
	})).Retry(retry).AskTimeout(attempt).Timeout(21*d.day).Remind(7*d.day, d.asks(func(h Hire, callbackID string) Effect {
		return Effect{Kind: kindReminder, To: h.Manager, Text: h.Name + " is still waiting for your approval.", Callback: callbackID}
	})).Undo(undoing[Answer](d), within) // the manager is told: never mind

	provision := saga.Parallel(b, "provision")
	saga.Step(provision, "directory", d.does(func(_ saga.Context, h Hire) Effect {
		return Effect{Kind: kindDirectory, Text: h.Name}
	})).Retry(retry).Timeout(attempt).Undo(d.undoes, within)
	mailbox := saga.Step(provision, "mailbox", d.does(func(_ saga.Context, h Hire) Effect {
		return Effect{Kind: kindMailbox, Text: login(h) + "@example.com"}
	})).Retry(retry).Timeout(attempt).Undo(d.undoes, within)
	laptop := saga.Step(provision, "laptop", d.does(func(_ saga.Context, h Hire) Effect {
		return Effect{Kind: kindLaptop, Text: h.Laptop}
	})).Retry(retry).Timeout(attempt).Undo(d.undoes, within)

	saga.Pivot(b, "welcome", d.does(func(c saga.Context, h Hire) Effect {
		return Effect{Kind: kindWelcome, To: h.Email, Text: "Welcome, " + h.Name + "! Your account is " + account.Of(c) + ", your laptop is " + laptop.Of(c) + "."}
	})).Retry(retry).Timeout(attempt).Verify(d.settles)

	return b.Build(func(c saga.Context, h Hire) (Welcome, error) {
		return Welcome{Account: account.Of(c), ApprovedBy: approved.Of(c).By, Mailbox: mailbox.Of(c), Laptop: laptop.Of(c)}, nil
	})
}

// login is the name of a hire's account.
func login(h Hire) string { return strings.ReplaceAll(h.ID, "-", ".") }

// does is the body of a step that has an effect.
func (d deps) does(effect func(saga.Context, Hire) Effect) func(saga.Context, Hire) (string, error) {
	return func(c saga.Context, h Hire) (string, error) {
		h = known(c, h)
		return d.do(c, h, effect(c, h))
	}
}

// known gives a hire the ID of the saga, by which lists, links and the audit know
// them, whatever the input says.
func known(c saga.Context, h Hire) Hire {
	if info, ok := durable.StepInfoFrom(c); ok {
		h.ID = info.Execution
	}
	return h
}

// asks tells somebody, once or as a reminder, what to answer under.
func (d deps) asks(effect func(h Hire, callbackID string) Effect) func(saga.Context, Hire, string) error {
	return func(c saga.Context, h Hire, callbackID string) error {
		h = known(c, h)
		_, err := d.do(c, h, effect(h, callbackID))
		return err
	}
}

// do has an effect. A refusal proves that there is none; every other error leaves
// the step in doubt, and it is tried again.
func (d deps) do(c saga.Context, h Hire, e Effect) (string, error) {
	if err := h.check(); err != nil {
		return "", saga.Reject(err) // before the first effect, since it is always the same
	}
	e.Hire = h.ID
	id, err := d.outside.Do(c, c.Key(), e)
	if errors.Is(err, errRefused) {
		return "", saga.Reject(err)
	}
	return id, err
}

// undoing undoes by the key of the forward step, which is all it takes, whether
// that step is in doubt or not.
func undoing[T any](d deps) func(saga.UndoContext, Hire, saga.Maybe[T]) error {
	return func(c saga.UndoContext, _ Hire, _ saga.Maybe[T]) error {
		return d.outside.Undo(c, c.ForwardKey())
	}
}

func (d deps) undoes(c saga.UndoContext, h Hire, id saga.Maybe[string]) error {
	return undoing[string](d)(c, h, id)
}

// settles decides about a welcome in doubt: the outbox has it, or never will.
func (d deps) settles(c saga.Context, _ Hire) (saga.Verdict[string], error) {
	id, done, err := d.outside.Settle(c, c.Key())
	switch {
	case err != nil:
		return saga.Unknown[string](), err // asked again
	case done:
		return saga.Happened(id), nil
	}
	return saga.NoEffect[string](), nil
}
