// Package otlptest runs the OpenTelemetry Collector's OTLP receiver, for tests of
// what the compiled programs of this repository export. It is a module of its own,
// so that nobody else depends on the Collector.
package otlptest
