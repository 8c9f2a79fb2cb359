package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// golden is a frame that went over the wire between RocketMQ's own programs;
// see test/capture, which records them, and testdata/golden/index.json.
type golden struct {
	File     string
	From, To string
	Kind     string // request, oneway or response
	Request  int32  // code of the request, or of the one answered
	Code     int32
	Encoding string

	frame []byte // whole, with its length
}

func (g *golden) name() string { return fmt.Sprintf("%s %s→%s", g.File, g.From, g.To) }

// command decodes a copy of the frame.
func (g *golden) command(t testing.TB) *Command {
	t.Helper()
	c := new(Command)
	if err := DecodeCommand(bytes.Clone(g.frame[4:]), c); err != nil {
		t.Fatalf("%s: %v", g.name(), err)
	}
	return c
}

func goldens(t testing.TB) []golden {
	t.Helper()
	dir := filepath.Join("testdata", "golden")
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	if err := json.Unmarshal(index, &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].frame, err = os.ReadFile(filepath.Join(dir, all[i].File)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestGoldenFrames decodes each frame and encodes it again: the same bytes if
// the header is binary, the same JSON otherwise, as encoding/json sees it.
func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	for _, g := range goldens(t) {
		if n, err := FrameSize(g.frame); err != nil || n != len(g.frame)-4 {
			t.Errorf("%s: FrameSize %d, %v", g.name(), n, err)
		}
		c := g.command(t)
		if c.Code != g.Code || c.IsResponse() != (g.Kind == "response") || c.IsOneway() != (g.Kind == "oneway") {
			t.Errorf("%s: code %d, flag %d", g.name(), c.Code, c.Flag)
		}
		again, err := AppendCommand(nil, c)
		if err != nil {
			t.Errorf("%s: %v", g.name(), err)
		}
		if c.Encoding == JSON {
			checkSameJSON(t, &g, c, again)
		} else if want := withoutNulls(g.frame); !bytes.Equal(again, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", g.name(), again, want)
		}
	}
}

// withoutNulls returns a binary frame without the fields that have no value:
// they read back as null and are not written again.
func withoutNulls(frame []byte) []byte {
	var c Command
	_ = DecodeCommand(frame[4:], &c)
	start := prefixBytes + binaryFixed + len(c.Remark)
	out := bytes.Clone(frame[:start])
	for b := frame[start : len(frame)-len(c.Body)]; len(b) > 0; {
		_, value, rest, _ := cutBinaryField(b)
		if len(value) > 0 {
			out = append(out, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
	be := binary.BigEndian
	be.PutUint32(out[start-4:], uint32(len(out)-start))
	be.PutUint32(out[4:], uint32(Binary)<<24|uint32(len(out)-prefixBytes))
	be.PutUint32(out, uint32(len(out)-4+len(c.Body)))
	return append(out, c.Body...)
}

// checkSameJSON compares the header and its new encoding with what encoding/json reads.
func checkSameJSON(t *testing.T, g *golden, c *Command, again []byte) {
	t.Helper()
	header := func(frame []byte) (h map[string]any) {
		end := prefixBytes + int(frame[5])<<16 + int(frame[6])<<8 + int(frame[7])
		if err := json.Unmarshal(frame[prefixBytes:end], &h); err != nil {
			t.Errorf("%s: %v", g.name(), err)
		}
		delete(h, "serializeTypeCurrentRPC")
		if h["remark"] == "" { // none
			delete(h, "remark")
		}
		return h
	}
	want := header(g.frame)
	if diff := cmp.Diff(want, header(again)); diff != "" {
		t.Errorf("%s: encoded again: %s", g.name(), diff)
	}
	fields := map[string]any{}
	for _, f := range c.Fields {
		fields[f.Key] = f.Value
	}
	if want["extFields"] == nil {
		want["extFields"] = map[string]any{}
	}
	if diff := cmp.Diff(want["extFields"], any(fields)); diff != "" {
		t.Errorf("%s: fields: %s", g.name(), diff)
	}
}

// TestGoldenHeaders reads the frames of the hot path into their typed headers
// and finds the same fields when those are written.
func TestGoldenHeaders(t *testing.T) {
	t.Parallel()
	type typed interface {
		Header
		Decode(Fields) error
	}
	seen := map[string]int{}
	for _, g := range goldens(t) {
		var h typed
		c := g.command(t)
		switch {
		case g.Kind == "response" && !slices.Contains([]int32{RespSuccess, RespPullNotFound, RespPullRetryImmediately, RespPullOffsetMoved}, g.Code):
			continue
		case slices.Contains([]int32{10, 310, 320, 324, 325}, g.Request) && g.Kind == "response":
			h = new(SendMessageResponse)
		case slices.Contains([]int32{10, 310, 320, 324, 325}, g.Request):
			h = new(SendMessageHeader)
		case slices.Contains([]int32{11, 361}, g.Request) && g.Kind == "response":
			h = new(PullMessageResponse)
		case slices.Contains([]int32{11, 361}, g.Request):
			h = new(PullMessageHeader)
		case g.Request == CodeRegisterBroker && g.Kind == "response":
			h = new(RegisterBrokerResult)
		case g.Request == CodePushReplyMessageToClient && g.Kind == "request":
			h = new(ReplyMessageHeader)
		default:
			continue
		}
		seen[reflect.TypeOf(h).String()]++
		if err := h.Decode(c.Fields); err != nil {
			t.Errorf("%s: %v", g.name(), err)
		}
		var write Header = h
		if s, ok := h.(*SendMessageHeader); ok && (g.Request == CodeSendMessage || g.Request == CodeSendReplyMessage) {
			write = s.V1()
		}
		if diff := cmp.Diff(canonical(c.Fields), canonical(throughWire(t, write, JSON))); diff != "" {
			t.Errorf("%s: %s", g.name(), diff)
		}
	}
	if len(seen) != 6 {
		t.Errorf("headers seen: %v", seen)
	}
}

// canonical returns fields as a map, without those that say nothing: a default
// that one side writes and the other leaves out.
func canonical(fields Fields) map[string]string {
	m := map[string]string{}
	for _, f := range fields {
		optional := []string{"offsetDelta", "topicSysFlag", "groupSysFlag", "forbiddenType", "maxMsgBytes", "requestSource"}
		if f.Value == "" || slices.Contains(optional, f.Key) && f.Value == "0" {
			continue
		}
		m[f.Key] = f.Value
	}
	delete(m, "lo")
	delete(m, "nsd")
	delete(m, "ns")
	delete(m, "ReqT") // a hook's
	return m
}

// TestGoldenMessages reads the messages of pull, pop, query and view responses
// and finds the same bytes when they are written; likewise the batches sent.
func TestGoldenMessages(t *testing.T) {
	t.Parallel()
	messages, batches, sealed := 0, 0, 0
	for _, g := range goldens(t) {
		c := g.command(t)
		if c.Body == nil {
			continue
		}
		switch {
		case holdsMessages(&g):
			var again []byte
			err := DecodeMessages(c.Body, func(m *Message) error {
				if !m.VerifyBody() {
					t.Errorf("%s: checksum of %s %d", g.name(), m.Topic, m.QueueOffset)
				}
				messages++
				start := len(again)
				again = AppendMessage(again, m)
				present, ok := VerifyMessageCRC(again[start:])
				if present && !ok {
					t.Errorf("%s: checksum of the properties of %s %d", g.name(), m.Topic, m.QueueOffset)
				}
				if present {
					sealed++
				}
				return nil
			})
			if err != nil || !bytes.Equal(again, c.Body) {
				t.Errorf("%s: %v; %d bytes again, were %d", g.name(), err, len(again), len(c.Body))
			}
		case g.Request == CodeSendBatchMessage && g.Kind != "response":
			var again []byte
			err := DecodeBatch(c.Body, func(flag int32, body []byte, properties string) error {
				batches++
				again = AppendBatchItem(again, flag, body, properties)
				return nil
			})
			if err != nil || !bytes.Equal(again, c.Body) {
				t.Errorf("%s: %v; batch differs", g.name(), err)
			}
		}
	}
	if messages < 10 || batches < 4 || sealed < 4 {
		t.Errorf("only %d messages, %d with a checksum of their properties, and %d items of batches", messages, sealed, batches)
	}
}

func holdsMessages(g *golden) bool {
	answers := []int32{CodePullMessage, CodeLitePullMessage, CodeQueryMessage, CodeViewMessageByID, CodePopMessage}
	requests := []int32{CodeCheckTransactionState, CodeConsumeMessageDirectly}
	if g.Kind == "response" {
		return slices.Contains(answers, g.Request)
	}
	return slices.Contains(requests, g.Request) && g.From == "java broker"
}

// bodyTypes are the bodies by code: of requests, and of answers as the negative code.
var bodyTypes = map[int32]any{
	CodeUpdateAndCreateTopicList: TopicConfigList{}, CodeHeartBeat: HeartbeatData{},
	CodeLockBatchMQ: LockBatchBody{}, CodeUnlockBatchMQ: LockBatchBody{}, CodeCheckClientConfig: CheckClientBody{},
	CodeUpdateAndCreateSubscriptionGroup: SubscriptionGroupConfig{}, CodeResetConsumerClientOffset: ResetOffsetBody{},
	CodeUpdateAndCreateSubscriptionGroupList: SubscriptionGroupList{}, CodeQueryAssignment: QueryAssignmentBody{},
	CodeSetMessageRequestMode: MessageRequestMode{}, CodeUpdateAndCreateStaticTopic: TopicQueueMappingDetail{},
	CodeAuthCreateUser: UserInfo{}, CodeAuthCreateACL: AclInfo{}, CodeQueryDataVersion: DataVersion{},
	CodeBatchAckMessage: BatchAckBody{},

	-CodeGetAllTopicConfig: TopicConfigTable{}, -CodeGetBrokerRuntimeInfo: KVTable{},
	-CodeGetConsumerListByGroup: ConsumerList{}, -CodeLockBatchMQ: LockBatchResult{},
	-CodeGetAllConsumerOffset: ConsumerOffsetTable{}, -CodeGetAllDelayOffset: DelayOffsetTable{},
	-CodeRegisterBroker: KVTable{}, -CodeGetRouteInfoByTopic: TopicRouteData{}, -CodeGetBrokerClusterInfo: ClusterInfo{},
	-CodeGetAllSubscriptionGroupConfig: SubscriptionGroupTable{}, -CodeGetTopicStatsInfo: TopicStatsTable{},
	-CodeGetConsumerConnectionList: ConsumerConnection{}, -CodeGetProducerConnectionList: ProducerConnection{},
	-CodeGetAllTopicListFromNameServer: TopicList{}, -CodeGetConsumeStats: ConsumeStats{},
	-CodeGetConsumerStatusFromClient: ConsumerStatusBody{}, -CodeInvokeBrokerToResetOffset: ResetOffsetBody{},
	-CodeInvokeBrokerToGetConsumerStatus: ConsumerStatusBody{}, -CodeGetTopicsByCluster: TopicList{},
	-CodeQueryTopicConsumeByWho: GroupList{}, -CodeQueryConsumeTimeSpan: ConsumeTimeSpanBody{},
	-CodeGetSystemTopicListFromNS: TopicList{}, -CodeGetSystemTopicListFromBroker: TopicList{},
	-CodeGetConsumerRunningInfo: ConsumerRunningInfo{}, -CodeConsumeMessageDirectly: ConsumeDirectlyResult{},
	-CodeViewBrokerStatsData: BrokerStatsData{}, -CodeGetBrokerConsumeStats: ConsumeStatsList{},
	-CodeQueryConsumeQueue: ConsumeQueueBody{}, -CodeGetAllProducerInfo: ProducerTable{},
	-CodeQueryTopicsByConsumer: TopicList{}, -CodeQuerySubscriptionByConsumer: SubscriptionBody{},
	-CodeGetTopicConfig: TopicConfigAndMapping{}, -CodeGetSubscriptionGroupConfig: SubscriptionGroupConfig{},
	-CodeQueryAssignment: AssignmentResult{}, -CodeGetAllMessageRequestMode: MessageRequestModeTable{},
	-CodeGetBrokerMemberGroup: BrokerMemberGroupBody{}, -CodeGetBrokerHAStatus: HARuntimeInfo{},
	-CodeGetKVListByNamespace: KVTable{}, -CodeQueryDataVersion: DataVersion{},
}

// uncaptured are those that the session of the capture does not lead to.
var uncaptured = []int32{
	CodeBatchAckMessage, -CodeGetSubscriptionGroupConfig,
}

// otherBodies are bodies of codes that are text, raw messages or binary.
var otherBodies = []int32{
	CodeSendMessage, CodeSendMessageV2, CodeSendBatchMessage, CodeSendReplyMessage, CodeSendReplyMessageV2,
	CodePushReplyMessageToClient, CodeUpdateBrokerConfig, -CodeGetBrokerConfig, CodeUpdateNamesrvConfig,
	-CodeGetNamesrvConfig, -CodeGetTimerCheckPoint, -CodeGetTimerMetrics, -CodeGetColdDataFlowCtrInfo, -CodeCleanUnusedTopic,
}

// TestGoldenBodies reads each JSON body into its type; written again it says
// the same, and nothing that stood in it is lost.
func TestGoldenBodies(t *testing.T) {
	t.Parallel()
	seen := map[int32]bool{}
	for _, g := range goldens(t) {
		c := g.command(t)
		code := g.Request
		if g.Kind == "response" {
			code = -code
		}
		if c.Body == nil || holdsMessages(&g) || slices.Contains(otherBodies, code) {
			continue
		}
		seen[code] = true
		if code == CodeRegisterBroker {
			checkRegistration(t, &g, c)
			continue
		}
		sample, ok := bodyTypes[code]
		if !ok {
			t.Errorf("%s: no type for its body %.200q", g.name(), c.Body)
			continue
		}
		checkBody(t, &g, c.Body, reflect.TypeOf(sample))
	}
	for code := range bodyTypes {
		if seen[code] == slices.Contains(uncaptured, code) {
			t.Errorf("a golden body of %d is there: %v", code, seen[code])
		}
	}
}

func checkBody(t *testing.T, g *golden, body []byte, kind reflect.Type) {
	t.Helper()
	first, second := reflect.New(kind), reflect.New(kind)
	if err := Unmarshal(body, first.Interface()); err != nil {
		t.Errorf("%s: %v in %s", g.name(), err, body)
		return
	}
	again := Marshal(first.Interface())
	if err := Unmarshal(again, second.Interface()); err != nil {
		t.Errorf("%s: %v in %s", g.name(), err, again)
	}
	if diff := cmp.Diff(first.Interface(), second.Interface(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: read again: %s", g.name(), diff)
	}
	if unquoted := MarshalUnquoted(first.Interface()); !sameTree(t, again, unquoted) {
		t.Errorf("%s: without quotes it says something else: %s", g.name(), unquoted)
	}
	want, got := tree(t, body), tree(t, again)
	if diff := cmp.Diff(want, got, ignoreDerived, cmpopts.SortSlices(lessTree)); diff != "" {
		t.Errorf("%s: %s", g.name(), diff)
	}
}

func sameTree(t *testing.T, a, b []byte) bool { return cmp.Equal(tree(t, a), tree(t, b)) }

// tree reads a body without a type.
func tree(t *testing.T, body []byte) (v any) {
	t.Helper()
	standard, err := LenientJSON(body)
	if err == nil {
		err = json.Unmarshal(standard, &v)
	}
	if err != nil {
		t.Errorf("%v in %s", err, body)
	}
	return v
}

func lessTree(a, b any) bool { return fmt.Sprint(a) < fmt.Sprint(b) }

// derived are members that Java writes from methods and not from fields.
var derived = []string{
	"consumeTimeStampStr", "maxTimeStampStr", "minTimeStampStr",
}

// ignoreDerived passes over those, over what is missing from the original, and
// over what is null or empty in it.
var ignoreDerived = cmp.FilterPath(func(p cmp.Path) bool {
	i, ok := p.Last().(cmp.MapIndex)
	if !ok {
		return false
	}
	want, got := i.Values()
	return slices.Contains(derived, i.Key().String()) || !want.IsValid() || !got.IsValid() && saysNothing(want)
}, cmp.Ignore())

func saysNothing(v reflect.Value) bool {
	switch v := v.Interface().(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func checkRegistration(t *testing.T, g *golden, c *Command) {
	t.Helper()
	b, err := DecodeRegisterBrokerBody(c.Body, c.Version)
	if err != nil {
		t.Errorf("%s: %v", g.name(), err)
		return
	}
	for _, compressed := range []bool{false, true} {
		again, err := DecodeRegisterBrokerBody(b.Encode(compressed), c.Version)
		if err != nil {
			t.Errorf("%s, compressed %v: %v", g.name(), compressed, err)
			continue
		}
		forgotten := cmpopts.IgnoreFields(TopicConfig{}, "Order", "TopicSysFlag")
		mapping := cmpopts.IgnoreFields(TopicConfigTable{}, "MappingDataVersion")
		if !compressed {
			forgotten, mapping = cmp.Options{}, cmp.Options{}
		}
		if diff := cmp.Diff(b, again, forgotten, mapping, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s, compressed %v: %s", g.name(), compressed, diff)
		}
	}
	crc, _ := c.Fields.Get("bodyCrc32")
	if crc != "0" && crc != fmt.Sprint(BodyCRC(c.Body)) {
		t.Errorf("%s: checksum %s, Java says %s", g.name(), fmt.Sprint(BodyCRC(c.Body)), crc)
	}
}

// TestGoldenRoutes finds both forms of a route byte for byte as Java wrote them.
func TestGoldenRoutes(t *testing.T) {
	t.Parallel()
	forms := map[bool]int{}
	for _, g := range goldens(t) {
		c := g.command(t)
		if g.Request != CodeGetRouteInfoByTopic || g.Kind != "response" || c.Body == nil {
			continue
		}
		var route TopicRouteData
		if err := Unmarshal(c.Body, &route); err != nil {
			t.Errorf("%s: %v", g.name(), err)
			continue
		}
		quoted := strings.Contains(string(c.Body), `{"0":`)
		forms[quoted]++
		if got := route.Marshal(quoted); string(got) != string(c.Body) {
			t.Errorf("%s:\ngot  %s\nwant %s", g.name(), got, c.Body)
		}
	}
	if forms[true] == 0 || forms[false] == 0 {
		t.Errorf("routes by form: %v", forms)
	}
}

// TestGoldenCoverage names what the goldens have to hold.
func TestGoldenCoverage(t *testing.T) {
	t.Parallel()
	have := map[string]bool{}
	for _, g := range goldens(t) {
		have[fmt.Sprint(g.From, " ", g.Kind, " ", g.Request, " ", g.Encoding)] = true
	}
	want := []string{
		"java client 4 request 10 json", "java client 4 request 10 rocketmq", "client-go request 10 json",
		"java client oneway 310 rocketmq", "java client oneway 37 rocketmq", "client-go request 320 json", "client-go request 34 json",
		"client-go request 41 json", "client-go request 11 json",
	}
	for _, encoding := range []string{"json", "rocketmq"} {
		for _, code := range []int{310, 320, 11, 34, 38, 41, 103, 105, 106} {
			want = append(want, fmt.Sprint("java * request ", code, " ", encoding))
		}
	}
	for _, w := range want {
		parts := strings.SplitN(w, " * ", 2)
		found := have[w]
		for k := range have {
			found = found || len(parts) == 2 && strings.HasPrefix(k, parts[0]) && strings.HasSuffix(k, parts[1]) ||
				len(parts) == 2 && strings.HasPrefix(k, "mqadmin") && strings.HasSuffix(k, parts[1])
		}
		if !found {
			t.Errorf("no golden: %s", w)
		}
	}
}
