package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/clewdev/clew/examples/payments/participant"
)

// How requests to deployed participants are authenticated. Without a choice,
// those to a function URL are signed, and others are not.
const (
	authIAM  = "aws-iam" // with SigV4, as function URLs with AuthType AWS_IAM want it
	authNone = "none"
)

// deployedParticipants returns a client of the participants at a base URL,
// which asks nobody yet.
func deployedParticipants(ctx context.Context, base, auth string) (*participant.Client, error) {
	if !isSigned(base, auth) {
		return participant.NewClient(participant.At(base), nil)
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	region, isFunction := functionRegion(base)
	if !isFunction {
		region = cfg.Region
	}
	if region == "" {
		return nil, fmt.Errorf("requests to %s cannot be signed without a region: set AWS_REGION", base)
	}
	return participant.NewClient(participant.At(base), newSigning(cfg.Credentials, region, participant.NewTransport()))
}

// isSigned tells whether requests to a base URL are to be signed.
func isSigned(base, auth string) bool {
	_, isFunction := functionRegion(base)
	return auth == authIAM || auth == "" && isFunction
}

// functionRegion returns the region that the host of a function URL names:
// https://ID.lambda-url.REGION.on.aws.
func functionRegion(base string) (region string, isFunction bool) {
	u, err := url.Parse(base)
	if err != nil {
		return "", false
	}
	host, isFunction := strings.CutSuffix(u.Hostname(), ".on.aws")
	_, region, found := strings.Cut(host, ".lambda-url.")
	return region, isFunction && found
}

// signing is a transport that signs requests with SigV4, for the service that
// function URLs belong to.
type signing struct {
	credentials aws.CredentialsProvider
	region      string
	next        http.RoundTripper
	signer      *v4.Signer
}

func newSigning(credentials aws.CredentialsProvider, region string, next http.RoundTripper) *signing {
	return &signing{credentials: credentials, region: region, next: next, signer: v4.NewSigner()}
}

// RoundTrip signs a copy of a request, all of its headers and its body, and
// sends it, once.
func (s *signing) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	credentials, err := s.credentials.Retrieve(r.Context())
	if err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	signed := r.Clone(r.Context())
	signed.Body, signed.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	sum := sha256.Sum256(body)
	if err := s.signer.SignHTTP(r.Context(), credentials, signed, hex.EncodeToString(sum[:]), "lambda", s.region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign the request: %w", err)
	}
	return s.next.RoundTrip(signed)
}
