package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/internal/otelenv"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/lambdahost/awsenv"
)

// The environment of the sagas' function, besides that of package awsenv.
const (
	urlVar  = "PAYMENTS_PARTICIPANTS_URL"  // as -participants-url
	authVar = "PAYMENTS_PARTICIPANTS_AUTH" // as -participants-auth
)

// sagasFunction runs payments on Lambda: the same saga as everywhere.
func sagasFunction(ctx context.Context) error {
	base := os.Getenv(urlVar)
	if base == "" {
		return fmt.Errorf("%s is not set: it is the base URL of the participants", urlVar)
	}
	client, err := deployedParticipants(ctx, base, os.Getenv(authVar))
	if err != nil {
		return fmt.Errorf("%s: %w", urlVar, err)
	}
	sagas, err := everyVersion(client, deployedTimeout, 0)
	if err != nil {
		return err
	}
	var defs []durable.Registrable
	for _, sg := range sagas { // the newest one last
		defs = append(defs, sg)
	}
	env, err := otelenv.Start(ctx, service)
	if err != nil {
		return err
	}
	opts, err := awsenv.Options(ctx, defs...)
	if err != nil {
		return err
	}
	opts.Engine.Observer, opts.Flush = env.Observer(), env.ForceFlush
	host, err := lambdahost.New(opts)
	if err != nil {
		return err
	}
	host.Start()
	return errors.New("the runtime ended") // it does not, but with the process
}
