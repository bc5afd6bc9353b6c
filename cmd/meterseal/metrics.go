package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/routeb"
)

// serveMetrics answers /metrics on a loopback address until ctx ends.
func serveMetrics(ctx context.Context, ln net.Listener, h *hems) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), &hemsMetrics{h})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(ln); ctx.Err() == nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// listenMetrics opens the address of --metrics, which must be on loopback:
// readings are nobody else's business.
func listenMetrics(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		ln.Close()
		return nil, usagef("--metrics %s: want a loopback address; a proxy can add TLS and passwords", addr)
	}
	return ln, nil
}

// hemsMetrics collects what a controller knows, when it is asked.
type hemsMetrics struct{ h *hems }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Names follow the conventions of Prometheus: base units, counters in _total,
// times as seconds since the Unix epoch.
var (
	descUp       = desc("routeb_meter_up", "1 if the meter answers", "meter")
	descPower    = desc("routeb_power_watts", "instantaneous power, negative when selling", "meter")
	descImport   = desc("routeb_energy_import_joules_total", "energy bought", "meter")
	descExport   = desc("routeb_energy_export_joules_total", "energy sold", "meter")
	descRead     = desc("routeb_last_success_timestamp_seconds", "when the power was read last", "meter")
	descSigned   = desc("tamperlog_signed_bytes", "signed length of the newest segment, as the meter says", "meter")
	descTail     = desc("tamperlog_unsigned_tail_bytes", "bytes of the newest segment that no seal covers, as the meter says", "meter")
	descSpool    = desc("tamperlog_spool_bundles", "bundles that wait for the MDMS", "meter")
	descTrips    = desc("tamperlog_round_trips_total", "requests of evidence that were answered", "meter")
	descJoined   = desc("routeb_link_up", "1 while the session with the meter lasts")
	descRSSI     = desc("routeb_link_rssi_dbm", "last signal received from the meter")
	descLQI      = desc("routeb_link_quality", "link quality of the meter's beacon")
	descAge      = desc("routeb_session_started_timestamp_seconds", "when the present session came about")
	descTripTime = desc("routeb_round_trip_seconds", "from a datagram that left to the next one received")
	descSent     = desc("routeb_datagrams_total", "datagrams by what became of them", "result")
	descRetries  = desc("routeb_retries_total", "attempts to send a datagram after the first")
	descSessions = desc("routeb_sessions_total", "sessions by result", "result")
	descLimited  = desc("routeb_transmit_limited", "1 while the legal transmit time is used up")
)

// Describe implements prometheus.Collector; the metrics are those that there
// are.
func (m *hemsMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *hemsMetrics) Collect(out chan<- prometheus.Metric) {
	for _, s := range m.h.States() {
		meterMetrics(out, &s)
	}
	if m.h.conn != nil {
		linkMetrics(out, m.h.conn)
	}
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

const joulesPerWattHour = 3600

func meterMetrics(out chan<- prometheus.Metric, s *controller.State) {
	id := s.Meter.String()
	gauge(out, descUp, truth(s.Online), id)
	if s.Power.OK() {
		gauge(out, descPower, float64(s.Power.V), id)
		gauge(out, descRead, float64(s.Power.Read.Unix()), id)
	}
	if wh, ok := s.Import.V.WattHours(); ok && s.Import.OK() {
		counter(out, descImport, float64(wh)*joulesPerWattHour, id)
	}
	if wh, ok := s.Export.V.WattHours(); ok && s.Export.OK() {
		counter(out, descExport, float64(wh)*joulesPerWattHour, id)
	}
	if log := s.Evidence.Log; log.Segment != 0 {
		gauge(out, descSigned, float64(log.SignedLength), id)
		gauge(out, descTail, float64(log.Length-log.SignedLength), id)
	}
	gauge(out, descSpool, float64(s.Evidence.Waiting), id)
	counter(out, descTrips, float64(s.Evidence.Stats.RoundTrips), id)
}

func linkMetrics(out chan<- prometheus.Metric, conn *routeb.Conn) {
	st, n := conn.Status(), conn.Stats()
	gauge(out, descJoined, truth(st.State == routeb.Joined))
	gauge(out, descLimited, truth(st.Limited))
	gauge(out, descLQI, float64(st.Network.LQI))
	if st.Power != 0 {
		gauge(out, descRSSI, st.Power)
	}
	if !n.Joined.IsZero() {
		gauge(out, descAge, float64(n.Joined.Unix()))
	}
	gauge(out, descTripTime, n.RoundTrip.Seconds())
	for result, v := range map[string]uint64{
		"sent": n.Sent, "not-sent": n.NotSent, "unknown": n.Indeterminate, "received": n.Received, "dropped": n.Dropped, "ignored": n.Ignored,
	} {
		counter(out, descSent, float64(v), result)
	}
	counter(out, descRetries, float64(n.Retries))
	for result, v := range map[string]uint64{"joined": n.Joins, "renewed": n.Renewals, "lost": n.Losses} {
		counter(out, descSessions, float64(v), result)
	}
}
