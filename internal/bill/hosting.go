package bill

// Hosting are the prices of what executions need on AWS besides their table, in
// dollars: per million where it says so, else for one of them and a month.
type Hosting struct {
	Invocations float64 // Lambda, per million
	GBSeconds   float64 // Lambda on arm64, per million, of the first tier
	Messages    float64 // requests to SQS, per million
	Ticks       float64 // invocations by a schedule, per million
	StoredGB    float64 // in DynamoDB
	LogGB       float64 // taken in by CloudWatch, once
	Metric      float64 // of one's own
	Alarm       float64
}

// ListedHosting are the prices in us-east-1 as of PricedOn, without free tiers.
func ListedHosting() Hosting {
	return Hosting{
		Invocations: 0.20, GBSeconds: 13.3334, Messages: 0.40, Ticks: 1,
		StoredGB: 0.25, LogGB: 0.50, Metric: 0.30, Alarm: 0.10,
	}
}
