package broker

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rmqbench/refbroker/internal/filter"
	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
)

func withSQL(c *Config) { c.EnablePropertyFilter = true }

func sqlSub(topic, expression string, version int64) protocol.SubscriptionData {
	return protocol.SubscriptionData{Topic: topic, SubString: expression, SubVersion: version, ExpressionType: protocol.ExpressionSQL92}
}

// heard is a pull by the subscription of the heartbeats.
func heard(group, topic string, offset, version int64, wait time.Duration) *protocol.PullMessageHeader {
	h := pullHeader(group, topic, 0, offset, wait, "")
	h.SysFlag &^= protocol.PullSubscription
	h.SubVersion = version
	return h
}

// inline is a pull that brings its expression.
func inline(topic, expression string) *protocol.PullMessageHeader {
	h := pullHeader("g", topic, 0, 0, 0, expression)
	h.ExpressionType = protocol.ExpressionSQL92
	return h
}

// sendNumbers sends messages m0, m1, … with the property n.
func (p *peer) sendNumbers(topic string, n int) {
	for i := range n {
		p.send(topic, 0, "m"+strconv.Itoa(i), props("n", strconv.Itoa(i)))
	}
	p.pullAll(topic, 0, n)
}

// TestSQLPull filters by the expression of heartbeats and by that of the pull.
func TestSQLPull(t *testing.T) {
	t.Parallel()
	p := startPeer(t, withSQL)
	p.sendNumbers("T", 6)
	p.beat(p.c, "c", "joined", "CLUSTERING", sqlSub("T", "n > 3 OR n = 0", 5))
	p.beat(p.c, "c", "broken", "CLUSTERING", sqlSub("T", "n >", 5))
	p.beat(p.c, "c", "other", "CLUSTERING", protocol.SubscriptionData{Topic: "T", SubString: "x", SubVersion: 5, ExpressionType: "FOO"})
	unknown := inline("T", "n = 1")
	unknown.ExpressionType = "FOO"
	for _, tc := range []struct {
		name   string
		h      *protocol.PullMessageHeader
		code   int32
		bodies string
	}{
		{"heartbeat", heard("joined", "T", 0, 5, 0), 0, "m0 m4 m5"},
		{"heartbeat, later", heard("joined", "T", 2, 5, 0), 0, "m4 m5"},
		{"heartbeat, older pull", heard("joined", "T", 0, 4, 0), 0, "m0 m4 m5"},
		{"heartbeat, newer pull", heard("joined", "T", 0, 6, 0), 25, ""},
		{"bad expression", heard("broken", "T", 0, 5, 0), 27, ""},
		{"unknown type", heard("other", "T", 0, 5, 0), 27, ""},
		{"inline", inline("T", "n BETWEEN 1 AND 2"), 0, "m1 m2"},
		{"inline, nothing", inline("T", "n IS NULL"), 20, ""},
		{"inline, errors", inline("T", "UNIQ_KEY > 1.0"), 20, ""},
		{"inline, bad expression", inline("T", "n ="), 0, "m0 m1 m2 m3 m4 m5"},
		{"inline, unknown type", unknown, 0, "m0 m1 m2 m3 m4 m5"},
		{"inline, empty", inline("T", ""), 23, ""},
		{"tags that are none", pullHeader("g", "T", 0, 0, 0, "||"), 23, ""},
		{"tags that are none, twice", pullHeader("g", "T", 0, 0, 0, "||||"), 23, ""},
		{"a tag", pullHeader("g", "T", 0, 0, 0, "|||"), 20, ""},
	} {
		got := p.pull(tc.h)
		if bodies := strings.Join(got.bodies(), " "); got.code != tc.code || bodies != tc.bodies {
			t.Errorf("%s: code %d %s, %q; want %d, %q", tc.name, got.code, got.remark, bodies, tc.code, tc.bodies)
		}
	}
	p.b.filters.set("T", "joined", p.b.filters.get("T", "joined").alive(4))
	if got := p.pull(heard("joined", "T", 0, 5, 0)); got.code != protocol.RespFilterDataNotLatest {
		t.Errorf("filter of an older version: code %d %s, want 28", got.code, got.remark)
	}
}

// TestSQLOff refuses expressions with the settings as they are by default.
func TestSQLOff(t *testing.T) {
	t.Parallel()
	p := startPeer(t)
	p.send("T", 0, "m", "")
	p.beat(p.c, "c", "g", "CLUSTERING", sqlSub("T", "n > 3", 5))
	const remark = "The broker does not support consumer to filter message by SQL92"
	for _, h := range []*protocol.PullMessageHeader{heard("g", "T", 0, 5, 0), inline("T", "n > 3"), inline("T", "n >")} {
		if got := p.pull(h); got.code != 1 || got.remark != remark {
			t.Errorf("code %d, %q", got.code, got.remark)
		}
	}
}

// TestCheckClientConfig tells clients whether their expression is one.
func TestCheckClientConfig(t *testing.T) {
	t.Parallel()
	on, off := startPeer(t, withSQL), startPeer(t)
	tag := protocol.SubscriptionData{Topic: "T", SubString: "a >", ExpressionType: protocol.ExpressionTag}
	for _, tc := range []struct {
		p      *peer
		sub    protocol.SubscriptionData
		code   int32
		remark string
	}{
		{on, sqlSub("T", "a > 1", 1), 0, ""},
		{on, sqlSub("T", "a > 'x'", 1), 23, "java.lang.RuntimeException: Value ''x'' cannot be compared."},
		{on, protocol.SubscriptionData{SubString: "x", ExpressionType: "FOO"}, 23, `there is no filter of type "FOO", want TAG or SQL92`},
		{on, tag, 0, ""},
		{off, tag, 0, ""},
		{off, sqlSub("T", "a > 1", 1), 1, "The broker does not support consumer to filter message by SQL92"},
	} {
		resp := tc.p.call(protocol.CodeCheckClientConfig, nil, &protocol.CheckClientBody{ClientID: "c", Group: "g", SubscriptionData: &tc.sub})
		if resp.Code != tc.code || resp.Remark != tc.remark {
			t.Errorf("%s: code %d, %q; want %d, %q", tc.sub.SubString, resp.Code, resp.Remark, tc.code, tc.remark)
		}
	}
	for _, body := range []any{nil, &protocol.CheckClientBody{ClientID: "c"}} {
		if resp := on.call(protocol.CodeCheckClientConfig, nil, body); resp.Code != 0 {
			t.Errorf("no subscription in %v: code %d %s", body, resp.Code, resp.Remark)
		}
	}
	if resp := on.call(protocol.CodeCheckClientConfig, nil, []byte("{")); resp.Code != 1 {
		t.Errorf("half a body: code %d", resp.Code)
	}
}

// TestSQLLongPoll wakes a pull that waits by the message that it wants only.
func TestSQLLongPoll(t *testing.T) {
	t.Parallel()
	for name, bits := range map[string]bool{"properties": false, "bit maps": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, withSQL, func(c *Config) { c.EnableCalcFilterBitMap, c.EnableConsumeQueueExt = bits, bits })
			p.sendNumbers("T", 1)
			p.beat(p.c, "c", "g", "CLUSTERING", sqlSub("T", "n = 2", 5))
			answer := p.goPull(heard("g", "T", 1, 5, 20*time.Second))
			p.held(1)
			p.send("T", 0, "m1", props("n", "1"))
			p.pullAll("T", 0, 2) // dispatch has told of it
			p.held(1)
			began := time.Now()
			p.send("T", 0, "m2", props("n", "2"))
			if got := <-answer; got.code != 0 || !slices.Equal(got.bodies(), []string{"m2"}) {
				t.Errorf("code %d %s, %v", got.code, got.remark, got.bodies())
			}
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("woken after %s, want at once", d)
			}
		})
	}
}

// TestBitMapsOfPulls has dispatch compute the bits of groups, and pulls go by them.
func TestBitMapsOfPulls(t *testing.T) {
	t.Parallel()
	p := startPeer(t, withSQL, func(c *Config) { c.EnableCalcFilterBitMap, c.EnableConsumeQueueExt = true, true })
	p.beat(p.c, "c", "even", "CLUSTERING", sqlSub("T", "n IN ('0', '2')", 5))
	p.beat(p.c, "c", "odd", "CLUSTERING", sqlSub("T", "n IN ('1', '3')", 5))
	born := max(p.b.filters.get("T", "even").BornTime, p.b.filters.get("T", "odd").BornTime)
	eventually(t, "a later millisecond", func() bool { return time.Now().UnixMilli() > born+1 })
	p.sendNumbers("T", 4)
	for group, want := range map[string][]string{"even": {"m0", "m2"}, "odd": {"m1", "m3"}} {
		if got := p.pull(heard(group, "T", 0, 5, 0)); !slices.Equal(got.bodies(), want) {
			t.Errorf("%s: code %d, %v, want %v", group, got.code, got.bodies(), want)
		}
		// The bits alone say so, too: a filter that lets every record through.
		d := *p.b.filters.get("T", group)
		d.compiled, _ = filter.Compile("TRUE")
		f := &sqlFilter{topic: "T", data: &d, filters: p.b.filters}
		var res store.GetResult
		p.b.store.Get(store.GetQuery{Topic: "T", MaxMessages: 32, Filter: f}, &res)
		if res.Messages != 2 {
			t.Errorf("%s: the bits let %d messages through, want 2", group, res.Messages)
		}
		res.Release()
		p.tellsUnits(group, want)
	}
}

// tellsUnits has QUERY_CONSUME_QUEUE show a group's filter, and which units it wants.
func (p *peer) tellsUnits(group string, want []string) {
	p.t.Helper()
	var body protocol.ConsumeQueueBody
	resp := p.ok(protocol.CodeQueryConsumeQueue, fields("topic", "T", "queueId", "0", "index", "0", "count", "9", "consumerGroup", group), nil)
	if err := protocol.Unmarshal(resp.Body, &body); err != nil {
		p.t.Fatal(err)
	}
	var wanted []string
	for i, u := range body.QueueData {
		if u.Eval {
			wanted = append(wanted, "m"+strconv.Itoa(i))
		}
	}
	if !slices.Equal(wanted, want) || !strings.Contains(body.FilterData, `"bitPos"`) || !strings.Contains(body.FilterData, "n IN (") {
		p.t.Errorf("%s wants units %v, want %v; filter %s", group, wanted, want, body.FilterData)
	}
}

// TestMatchUnit trusts bits only where dispatch had computed them for the group.
func TestMatchUnit(t *testing.T) {
	t.Parallel()
	filters, err := newConsumerFilters(nil, func() *Config { c := DefaultConfig(); return &c }, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := filter.Compile("a = 1")
	if err != nil {
		t.Fatal(err)
	}
	positions := filters.bloom.Of("G#T")
	set, none := make([]byte, 14), make([]byte, 14)
	filter.Set(set, positions)
	data := func(change func(*filterData)) *filterData {
		d := &filterData{compiled: compiled}
		d.BornTime, d.BloomFilterData = 100, &protocol.BloomFilterData{BitNum: 112, BitPos: positions}
		if change != nil {
			change(d)
		}
		return d
	}
	for _, tc := range []struct {
		name string
		data *filterData
		ext  *store.ExtUnit
		want bool
	}{
		{"hit", data(nil), &store.ExtUnit{StoreTime: 101, BitMap: set}, true},
		{"miss", data(nil), &store.ExtUnit{StoreTime: 101, BitMap: none}, false},
		{"before the group", data(nil), &store.ExtUnit{StoreTime: 100, BitMap: none}, true},
		{"no extension", data(nil), nil, true},
		{"no bits", data(nil), &store.ExtUnit{StoreTime: 101}, true},
		{"shorter bits", data(nil), &store.ExtUnit{StoreTime: 101, BitMap: none[:13]}, true},
		{"longer bits", data(nil), &store.ExtUnit{StoreTime: 101, BitMap: make([]byte, 15)}, true},
		{"no filter", nil, &store.ExtUnit{StoreTime: 101, BitMap: none}, true},
		{"no expression", data(func(d *filterData) { d.compiled = nil }), &store.ExtUnit{StoreTime: 101, BitMap: none}, true},
		{"no positions", data(func(d *filterData) { d.BloomFilterData = nil }), &store.ExtUnit{StoreTime: 101, BitMap: none}, true},
		{"other positions", data(func(d *filterData) {
			d.BloomFilterData = &protocol.BloomFilterData{BitNum: 112, BitPos: positions[:2]}
		}), &store.ExtUnit{StoreTime: 101, BitMap: none}, true},
		{"other size", data(func(d *filterData) {
			d.BloomFilterData = &protocol.BloomFilterData{BitNum: 104, BitPos: positions}
		}), &store.ExtUnit{StoreTime: 101, BitMap: none[:13]}, true},
	} {
		f := &sqlFilter{topic: "T", data: tc.data, filters: filters}
		if got := f.MatchUnit(0, tc.ext); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

// TestFilterOfRetries holds messages that are consumed again to the filter for
// the topic that they came from, if the broker is told to.
func TestFilterOfRetries(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{false, true} {
		p := startPeer(t, withSQL, func(c *Config) { c.FilterSupportRetry = retry })
		p.beat(p.c, "c", "g", "CLUSTERING", sqlSub("T", "n = 1", 5), sqlSub("%RETRY%g", "n IS NOT NULL", 5))
		for i := range 3 {
			p.send("%RETRY%g", 0, "m"+strconv.Itoa(i), props("n", strconv.Itoa(i), "RETRY_TOPIC", "T"))
		}
		p.send("%RETRY%g", 0, "other", props("n", "7", "RETRY_TOPIC", "U"))
		p.pullAll("%RETRY%g", 0, 4)
		want := []string{"m0", "m1", "m2", "other"}
		if retry {
			want = []string{"m1", "other"} // there is no filter for U
		}
		if got := p.pull(heard("g", "%RETRY%g", 0, 5, 0)); !slices.Equal(got.bodies(), want) {
			t.Errorf("filterSupportRetry=%v: code %d %s, %v, want %v", retry, got.code, got.remark, got.bodies(), want)
		}
	}
	for topic, want := range map[string]string{
		"%RETRY%g": "g", "%RETRY%g+T": "g", "%RETRY%g_T": "g_T", "%RETRY%g+": "g+", "%RETRY%g+T+": "g", "%RETRY%a+b+c": "a+b+c",
	} {
		if got := groupOfRetry(topic); got != want {
			t.Errorf("%s is of group %s, want %s", topic, got, want)
		}
	}
}
