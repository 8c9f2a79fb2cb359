package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rmqbench/results"
)

// none stands where there is nothing to say.
const none = "–"

// compare makes every run, one after the other, prints the tables to out and
// returns what differs from what was planted.
func compare(ctx context.Context, short, markdown bool, out, progress io.Writer) (wrong []string, err error) {
	times := [][]string{{
		"planted", "", "by hand", "wire, from intended", "wire, from call", "client-go, from intended", "client-go, from call",
		"closed loop, wire", "closed loop, client-go",
	}}
	counts := [][]string{{
		"planted", "", "wire: planted", "reported", "named", "client-go: planted", "reported", "named",
	}}
	for _, s := range slices.Concat(timing(short), delaying(), counting()) {
		rows, differs, err := s.rows(ctx, progress)
		if err != nil {
			return nil, err
		}
		if s.op != "" {
			times = append(times, rows...)
		} else {
			counts = append(counts, rows...)
		}
		wrong = append(wrong, differs...)
	}
	for _, table := range [][][]string{times, counts} {
		if err := write(out, table, markdown); err != nil {
			return nil, err
		}
	}
	return wrong, nil
}

// rows measures one fault with both drivers and makes its rows of the table.
func (s *scenario) rows(ctx context.Context, progress io.Writer) (rows [][]string, wrong []string, err error) {
	rows = s.begin()
	for _, name := range driverNames {
		fmt.Fprintf(progress, "%s, %s\n", s.name, name)
		r, err := s.run(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		for _, w := range s.wrong(r) {
			wrong = append(wrong, fmt.Sprintf("%s, %s: %s", s.name, name, w))
		}
		if s.op == "" {
			rows[0] = append(rows[0], s.truth(&r.books), fmt.Sprint(s.count(&r.run.Ledger)), s.naming(r))
			continue
		}
		intended, call, err := r.latencies(s.op)
		if err != nil {
			return nil, nil, err
		}
		s.addCells(rows, intended, call)
	}
	if s.op == "" {
		return rows, wrong, nil
	}
	return rows, wrong, s.addClosed(ctx, rows, progress)
}

// begin makes the rows with what is known before a run: one, or one for each figure.
func (s *scenario) begin() [][]string {
	if s.op == "" {
		return [][]string{{s.name, s.planted}}
	}
	rows := make([][]string, len(s.figures))
	for i, f := range s.figures {
		rows[i] = []string{"", f.name, millis(f.want)}
	}
	rows[0][0] = s.name + ": " + s.planted
	return rows
}

// addClosed adds what a closed loop makes of a fault of sending.
func (s *scenario) addClosed(ctx context.Context, rows [][]string, progress io.Writer) error {
	for _, name := range driverNames {
		l := &results.Latency{}
		if s.op == results.OpSend {
			fmt.Fprintf(progress, "%s, closed loop over %s\n", s.name, name)
			var err error
			if l, err = s.closedLoop(ctx, name); err != nil {
				return err
			}
		}
		s.addCells(rows, l)
	}
	return nil
}

// addCells adds each figure of each of the latencies to its row.
func (s *scenario) addCells(rows [][]string, of ...*results.Latency) {
	for i, f := range s.figures {
		for _, l := range of {
			cell := none
			if v := f.of(l); v != nil {
				cell = millis(time.Duration(*v) * time.Microsecond)
			} else if l.Count > 0 {
				cell = "too few samples"
			}
			rows[i] = append(rows[i], cell)
		}
	}
}

// truth is how many messages there are to find: for swaps also those that the
// client itself sent in another order.
func (s *scenario) truth(b *books) string {
	if by := len(b.Reordered) - len(b.Planted); s.fault.deed == swap && by > 0 {
		return fmt.Sprintf("%d, and %d by the client", len(b.Planted), by)
	}
	return fmt.Sprint(len(b.Planted))
}

func (s *scenario) naming(r *report) string {
	switch {
	case s.kind == "":
		return none
	case len(s.wrongNames(r)) == 0:
		return "just these"
	}
	return "not these"
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// write prints a table, its first row as heading.
func write(out io.Writer, table [][]string, markdown bool) error {
	if !markdown {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, row := range table {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		fmt.Fprintln(w)
		return w.Flush()
	}
	for i, row := range table {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(out, "|---|---|%s\n", strings.Repeat("--:|", len(row)-2))
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}
