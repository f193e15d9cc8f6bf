package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/clewdev/clew/durable"
)

// broken is an error that only a person can end: what was being done, what is
// the matter and, after a colon, what to do.
func broken(table, action, format string, args ...any) error {
	return fmt.Errorf("dynamo: table %s: %s: %s: %w", table, action, fmt.Sprintf(format, args...), durable.ErrStoreBroken)
}

// What a person reads of each fault: first those that only a person can end,
// then those that pass, for when they do not.
const (
	textNoTable     = "the table does not exist in this account and region: check its name, the region and the endpoint, or make it with clew table create or dynamo.CreateTable"
	textNoIndex     = "the table or one of its indexes is not there, or not yet: wait until it is active, or make it with clew table create or dynamo.CreateTable"
	textDenied      = "these credentials may not do that: allow the action on the table and on its index/* in the policy of this role or user"
	textExpired     = "the credentials have expired: renew them, then the store goes on by itself; nothing that was acknowledged is lost"
	textCredentials = "the service does not accept these credentials: check access key, secret, region and endpoint, and this machine's clock"
	textUnsigned    = "there are no credentials to sign with: set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
	textSchema      = "the keys or indexes of the table are not those of clew: use a table made by dynamo.CreateTable"
	textRegion      = "no region is set: set AWS_REGION, or region= in the store's URL"

	textThrottled   = "the service throttles, and requests are repeated until it has room: if that lasts, raise the table's maximum throughput or the account's quota, or spread due work over more shards with clew table create --shards"
	textUnavailable = "the service has a fault of its own, and requests are repeated until it is over: if that lasts, see the AWS Health Dashboard"
	textUnreached   = "no answer came, and requests are repeated until one does: if that lasts, check the region, the endpoint and this machine's network"
)

// explain turns a fault of the SDK into one that names table and action and,
// where a person must act, or must if it lasts, the remedy. The cause stays in
// it. Every error from the service goes through here.
func explain(table, action string, err error) error {
	if err == nil {
		return nil
	}
	if text := remedy(err); text != "" {
		return fmt.Errorf("dynamo: table %s: %s: %s: %w (%w)", table, action, text, durable.ErrStoreBroken, err)
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "ValidationException" {
		return fmt.Errorf("dynamo: table %s: %s: %w: %w", table, action, durable.ErrInvalid, err)
	}
	if text := patience(err); text != "" {
		return fmt.Errorf("dynamo: table %s: %s: %s (%w)", table, action, text, err)
	}
	return fmt.Errorf("dynamo: table %s: %s: %w", table, action, err)
}

// remedy is the text for a fault that only a person can end, else "".
func remedy(err error) string {
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		if strings.Contains(missing.ErrorMessage(), "index") {
			return textNoIndex
		}
		return textNoTable
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		switch {
		case strings.Contains(err.Error(), "Missing Region") || strings.Contains(err.Error(), "Invalid Configuration: Missing"):
			return textRegion
		case isSigning(err):
			return textUnsigned
		}
		return ""
	}
	if isDenied(err) {
		return textDenied
	}
	switch api.ErrorCode() {
	case "TableNotFoundException":
		return textNoTable
	case "IndexNotFoundException":
		return textNoIndex
	case "ExpiredTokenException", "ExpiredToken", "RequestExpired":
		return textExpired
	case "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException",
		"MissingAuthenticationTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidAccessKeyId":
		return textCredentials
	case "ValidationException":
		for _, says := range []string{"match the schema", "does not have the specified index", "Type mismatch for key", "Missing the key"} {
			if strings.Contains(api.ErrorMessage(), says) {
				return textSchema
			}
		}
	}
	return ""
}

// isDenied tells whether the service knows who asks, and does not let them.
func isDenied(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "KMSAccessDeniedException":
		return true
	}
	return false
}

// patience is the text for a fault that passes by itself, else "".
func patience(err error) string {
	var api smithy.APIError
	switch is := errors.As(err, &api); {
	case !passes(err) || !is && errors.Is(err, context.Canceled):
		return ""
	case !is:
		return textUnreached
	case throttles[api.ErrorCode()]:
		return textThrottled
	case strings.HasSuffix(api.ErrorCode(), "ConflictException"):
		return "" // two writes at once, over with the next attempt
	}
	return textUnavailable
}

// isSigning tells whether a request could not even be made, for lack of
// credentials or region. The SDK has no type for it.
func isSigning(err error) bool {
	for _, says := range []string{"get identity", "get credentials", "failed to sign request", "Missing Region", "Invalid Configuration: Missing"} {
		if strings.Contains(err.Error(), says) {
			return true
		}
	}
	return false
}
