package lambdalocal

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func newSQS(opts Options) *sqs.Client {
	return sqs.New(sqs.Options{BaseEndpoint: &opts.SQS, Region: opts.Region,
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
}

// sendFailure sends an event that failed for good as Lambda does: the event as
// the body, what happened as attributes.
func (l *Lambda) sendFailure(queue string, f Failure) error {
	if l.sqs == nil {
		return errors.New("there is no SQS server: set Options.SQS")
	}
	text := func(s string) types.MessageAttributeValue {
		kind := "String"
		return types.MessageAttributeValue{DataType: &kind, StringValue: &s}
	}
	body := string(f.Payload)
	attributes := map[string]types.MessageAttributeValue{"RequestID": text(f.RequestID), "ErrorCode": text("200")}
	if message := string(f.Response); message != "" {
		attributes["ErrorMessage"] = text(message[:min(len(message), 1024)])
	}
	_, err := l.sqs.SendMessage(context.WithoutCancel(l.ctx), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body, MessageAttributes: attributes})
	return err
}
