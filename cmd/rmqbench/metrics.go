package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rmqbench/results"
	"rmqbench/workloads/load"
)

// metrics is the Prometheus endpoint of a live run: the latest snapshot, as it is
// asked for. Counters go on from zero with each run of a series.
type metrics struct {
	mu       sync.Mutex
	run      prometheus.Labels
	last     *load.Snapshot
	refusals map[string]int64 // so far; a snapshot has those of its interval

	server  *http.Server
	address string
	served  chan error
}

// serveMetrics listens on address until close is called.
func serveMetrics(address string) (*metrics, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics %s: %w; choose another address, or port 0 for a free one", address, err)
	}
	m := &metrics{address: l.Addr().String(), served: make(chan error, 1)}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "rmqbench: see /metrics") })
	m.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { m.served <- m.server.Serve(l) }()
	return m, nil
}

// close ends the endpoint; a scrape under way is finished.
func (m *metrics) close() error {
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := m.server.Shutdown(ctx)
	if served := <-m.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("ending the metrics endpoint: %w", err)
	}
	return nil
}

// begin is called at the start of each run, and forgets the one before.
func (m *metrics) begin(run *results.Run) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last, m.refusals = nil, map[string]int64{}
	m.run = prometheus.Labels{"run": run.ID, "workload": run.Workload.Name, "profile": run.Profile.Name, "driver": run.Driver, "shard": ""}
	if s := run.Shard; s != nil {
		m.run["shard"] = fmt.Sprintf("%d/%d", s.Index, s.Of)
	}
}

// show takes the next snapshot.
func (m *metrics) show(s load.Snapshot) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = &s
	for key, n := range s.Point.Refusals {
		m.refusals[key] += n
	}
}

// What is exported. Names and labels are part of what other programs rely on;
// docs/metrics.md lists them.
var (
	descInfo     = desc("run_info", "What runs: always 1.", "run", "workload", "profile", "driver", "shard")
	descPhase    = desc("phase", "The phase that the run is in: 1 for that one.", "phase")
	descPhases   = desc("phase_index", "Number of the phase, from 1.")
	descElapsed  = desc("elapsed_seconds", "Time since the load began.")
	descDuration = desc("duration_seconds", "Planned time of the load, the drain phase included.")
	descPlanned  = desc("messages_planned_total", "Arrivals of the schedule that came due.")
	descSent     = desc("messages_sent_total", "Messages given to the driver.")
	descAcked    = desc("messages_acked_total", "Messages acknowledged as stored.")
	descErrors   = desc("messages_failed_total", "Messages that were not acknowledged, by outcome.", "outcome")
	descRefused  = desc("messages_refused_total", "Sends that brokers turned away, by response code and kind of remark.", "code", "kind")
	descReceived = desc("messages_received_total", "First deliveries, over all consumer groups.")
	descWrong    = desc("messages_wrong_total", "Messages duplicated, out of order, corrupt or foreign.", "kind")
	descAwaited  = desc("messages_outstanding", "Acknowledged and not yet received: on their way, or lost.")
	descLag      = desc("consumer_lag_messages", "Messages that a consumer group is behind; absent while unknown.", "group")
	descBacklog  = desc("backlog_messages", "Acknowledged and not yet received at the end of the last interval.")
	descRate     = desc("rate_per_second", "Completed in the last interval.", "operation", "group")
	descTarget   = desc("planned_rate_per_second", "Planned in the last interval.", "operation", "group")
	descLatency  = desc("latency_seconds", "Percentile of the last interval, from the intended time; absent when its sample is too small.",
		"operation", "group", "quantile")
	descLate = desc("lateness_seconds", "Greatest lateness of the generator in the last interval.")
	descCPU  = desc("process_cpu_cores", "Cores that a process used in the last interval.", "process")
	descRAM  = desc("process_memory_bytes", "Anonymous memory of a process.", "process")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rmqbench_"+name, help, labels, nil)
}

// Describe says nothing: what there is depends on the run.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := sink(ch)
	if m.run != nil {
		out.gauge(descInfo, 1, m.run["run"], m.run["workload"], m.run["profile"], m.run["driver"], m.run["shard"])
	}
	if m.last == nil {
		return
	}
	out.progress(m.last)
	out.messages(m.last)
	out.interval(&m.last.Point)
	for key, n := range m.refusals {
		code, kind, _ := strings.Cut(key, " ")
		out.counter(descRefused, n, code, kind)
	}
}

// sink is where the metrics of a scrape go.
type sink chan<- prometheus.Metric

func (c sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	c <- metric(d, prometheus.GaugeValue, v, labels)
}

func (c sink) counter(d *prometheus.Desc, n int64, labels ...string) {
	c <- metric(d, prometheus.CounterValue, float64(n), labels)
}

// metric makes labels valid first: a name of a broker's answer may be any bytes.
func metric(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels []string) prometheus.Metric {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "�")
	}
	m, err := prometheus.NewConstMetric(d, kind, v, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	return m
}

func (c sink) progress(s *load.Snapshot) {
	c.gauge(descPhase, 1, s.Phase)
	c.gauge(descPhases, float64(s.PhaseIndex+1))
	c.gauge(descElapsed, s.Elapsed.Seconds())
	c.gauge(descDuration, s.Duration.Seconds())
}

func (c sink) messages(s *load.Snapshot) {
	c.counter(descPlanned, s.Total.Planned)
	c.counter(descSent, s.Ledger.Sent)
	c.counter(descAcked, s.Ledger.Acked)
	c.counter(descReceived, s.Ledger.Received)
	c.gauge(descAwaited, float64(s.Ledger.Lost))
	for outcome, n := range s.Outcomes {
		c.counter(descErrors, n, outcome)
	}
	for kind, n := range map[string]int64{
		"duplicated": s.Ledger.Duplicated, "out of order": s.Ledger.OutOfOrder, "corrupt": s.Ledger.Corrupt, "foreign": s.Ledger.Foreign,
	} {
		c.counter(descWrong, n, kind)
	}
}

func (c sink) interval(p *results.Point) {
	span := float64(max(1, p.SpanMillis)) / 1000
	for key, op := range p.Ops {
		name, group := results.SplitOpKey(key)
		c.gauge(descRate, float64(op.Count)/span, name, group)
		c.gauge(descTarget, float64(op.Planned)/span, name, group)
		carried := op.Carried()
		for q, us := range map[string]int64{"0.5": carried.P50, "0.99": carried.P99, "0.999": carried.P999, "1": carried.Max} {
			if us > 0 {
				c.gauge(descLatency, float64(us)/1e6, name, group, q)
			}
		}
	}
	for group, n := range p.Lag {
		if n >= 0 {
			c.gauge(descLag, float64(n), group)
		}
	}
	for name, n := range p.Nodes {
		c.gauge(descCPU, n.CPU, name)
		c.gauge(descRAM, float64(n.AnonBytes), name)
	}
	c.gauge(descBacklog, float64(p.Backlog))
	c.gauge(descLate, float64(p.LateMicros)/1e6)
}
