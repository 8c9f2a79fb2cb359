package protocol

// Bits of a pull request's system flag.
const (
	PullCommitOffset int32 = 1 // store CommitOffset for the group
	PullSuspend      int32 = 2 // wait when there is nothing
	PullSubscription int32 = 4 // the expression is in the request
	PullClassFilter  int32 = 8
	PullLite         int32 = 16
)

// Kinds of expressions.
const (
	ExpressionTag   = "TAG"
	ExpressionSQL92 = "SQL92"
)

// PullMessageHeader is the header of PULL_MESSAGE and LITE_PULL_MESSAGE.
type PullMessageHeader struct {
	ConsumerGroup        string
	Topic                string
	QueueID              int32
	QueueOffset          int64
	MaxMsgNums           int32
	SysFlag              int32
	CommitOffset         int64
	SuspendTimeoutMillis int64
	Subscription         string
	SubVersion           int64
	ExpressionType       string // empty means TAG
	MaxMsgBytes          int32  // written if not 0; brokers of 5.3.2 ignore it
	RequestSource        int32  // written if not 0
	ProxyForwardClientID string // "proxyFrowardClientId" on the wire
	BrokerName           string
}

// pullRequired are the fields that Java fails without; it only logs that the
// others are missing.
var pullRequired = []string{"consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag"}

// Decode fills h from fields; see SendMessageHeader.Decode.
func (h *PullMessageHeader) Decode(fields Fields) error {
	*h = PullMessageHeader{}
	d := headerFields{missing: 1<<len(pullRequired) - 1}
	for i := range fields {
		h.set(&fields[i], &d)
	}
	return d.err(pullRequired)
}

func (h *PullMessageHeader) set(f *Field, d *headerFields) {
	switch f.Key {
	case "consumerGroup":
		h.ConsumerGroup = f.Value
		d.have(0)
	case "topic":
		h.Topic = f.Value
		d.have(1)
	case "queueId":
		h.QueueID = d.int32(f)
		d.have(2)
	case "queueOffset":
		h.QueueOffset = d.int64(f)
		d.have(3)
	case "maxMsgNums":
		h.MaxMsgNums = d.int32(f)
		d.have(4)
	case "sysFlag":
		h.SysFlag = d.int32(f)
		d.have(5)
	case "commitOffset":
		h.CommitOffset = d.int64(f)
	case "suspendTimeoutMillis":
		h.SuspendTimeoutMillis = d.int64(f)
	case "subVersion":
		h.SubVersion = d.int64(f)
	default:
		h.setOptional(f, d)
	}
}

func (h *PullMessageHeader) setOptional(f *Field, d *headerFields) {
	switch f.Key {
	case "subscription":
		h.Subscription = f.Value
	case "expressionType":
		h.ExpressionType = f.Value
	case "maxMsgBytes":
		h.MaxMsgBytes = d.int32(f)
	case "requestSource":
		h.RequestSource = d.int32(f)
	case "proxyFrowardClientId":
		h.ProxyForwardClientID = f.Value
	case "bname":
		h.BrokerName = f.Value
	}
}

// AppendTo writes h.
func (h *PullMessageHeader) AppendTo(e *FieldEncoder) {
	e.String("consumerGroup", h.ConsumerGroup)
	e.String("topic", h.Topic)
	e.Int("queueId", int64(h.QueueID))
	e.Int("queueOffset", h.QueueOffset)
	e.Int("maxMsgNums", int64(h.MaxMsgNums))
	e.Int("sysFlag", int64(h.SysFlag))
	e.Int("commitOffset", h.CommitOffset)
	e.Int("suspendTimeoutMillis", h.SuspendTimeoutMillis)
	e.Int("subVersion", h.SubVersion)
	if h.Subscription != "" {
		e.String("subscription", h.Subscription)
	}
	if h.ExpressionType != "" {
		e.String("expressionType", h.ExpressionType)
	}
	if h.MaxMsgBytes != 0 {
		e.Int("maxMsgBytes", int64(h.MaxMsgBytes))
	}
	if h.RequestSource != 0 {
		e.Int("requestSource", int64(h.RequestSource))
	}
	if h.ProxyForwardClientID != "" {
		e.String("proxyFrowardClientId", h.ProxyForwardClientID)
	}
	if h.BrokerName != "" {
		e.String("bname", h.BrokerName)
	}
}

// PullMessageResponse is the header of a pull response; Java clients need its
// first four fields with the codes 0, 19, 20 and 21.
type PullMessageResponse struct {
	SuggestWhichBrokerID int64
	NextBeginOffset      int64
	MinOffset            int64
	MaxOffset            int64
	OffsetDelta          int64 // written if not 0, as are those below
	TopicSysFlag         int32
	GroupSysFlag         int32
	ForbiddenType        int32 // with NO_PERMISSION: 1 broker, 2 group, 3 topic, 4 broadcast, 5 subscription
}

var pullResponseRequired = []string{"suggestWhichBrokerId", "nextBeginOffset", "minOffset", "maxOffset"}

// Decode fills h from fields; see SendMessageHeader.Decode.
func (h *PullMessageResponse) Decode(fields Fields) error {
	*h = PullMessageResponse{}
	d := headerFields{missing: 1<<len(pullResponseRequired) - 1}
	for i := range fields {
		switch f := &fields[i]; f.Key {
		case "suggestWhichBrokerId":
			h.SuggestWhichBrokerID = d.int64(f)
			d.have(0)
		case "nextBeginOffset":
			h.NextBeginOffset = d.int64(f)
			d.have(1)
		case "minOffset":
			h.MinOffset = d.int64(f)
			d.have(2)
		case "maxOffset":
			h.MaxOffset = d.int64(f)
			d.have(3)
		case "offsetDelta":
			h.OffsetDelta = d.int64(f)
		case "topicSysFlag":
			h.TopicSysFlag = d.int32(f)
		case "groupSysFlag":
			h.GroupSysFlag = d.int32(f)
		case "forbiddenType":
			h.ForbiddenType = d.int32(f)
		}
	}
	return d.err(pullResponseRequired)
}

// AppendTo writes h.
func (h *PullMessageResponse) AppendTo(e *FieldEncoder) {
	e.Int("suggestWhichBrokerId", h.SuggestWhichBrokerID)
	e.Int("nextBeginOffset", h.NextBeginOffset)
	e.Int("minOffset", h.MinOffset)
	e.Int("maxOffset", h.MaxOffset)
	if h.OffsetDelta != 0 {
		e.Int("offsetDelta", h.OffsetDelta)
	}
	e.Int("topicSysFlag", int64(h.TopicSysFlag)) // Java's broker says them even when 0
	e.Int("groupSysFlag", int64(h.GroupSysFlag))
	if h.ForbiddenType != 0 {
		e.Int("forbiddenType", int64(h.ForbiddenType))
	}
}
