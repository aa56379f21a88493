// Package otlp exports what Prometheus would collect to an OpenTelemetry collector, by OTLP over HTTP. Use it in commands
// that run for long; the standard environment variables say whether and where.
//
// Compatibility: none.
package otlp

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// stopPatience bounds the last export.
const stopPatience = 5 * time.Second

// Start exports what g gathers until stop, every minute or as OTEL_METRIC_EXPORT_INTERVAL says, and once more at the end.
// It does nothing unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is set; the exporter heeds the
// other variables of its specification too. service and instance become service.name and service.instance.id.
func Start(ctx context.Context, service, instance, version string, g prometheus.Gatherer) (stop func() error, err error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") == "" || os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return func() error { return nil }, nil
	}
	exporter, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry export: %w", err)
	}
	// What the environment says of the resource comes last, and counts.
	res, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.instance.id", instance), attribute.String("service.version", version),
	), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry export: %w", err)
	}
	reader := metric.NewPeriodicReader(exporter, metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(g))))
	provider := metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(res))
	return func() error {
		// Whoever stops has cancelled its own context by now.
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			return fmt.Errorf("OpenTelemetry export: %w", err)
		}
		return nil
	}, nil
}
