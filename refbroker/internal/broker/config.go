package broker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/internal/timer"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// Values of Config.BrokerRole.
const (
	RoleAsyncMaster = "ASYNC_MASTER"
	RoleSyncMaster  = "SYNC_MASTER"
	RoleSlave       = "SLAVE"
)

// Config holds the keys of Java's BrokerConfig, NettyServerConfig and
// MessageStoreConfig that the broker honours, under their Java names.
// Intervals and timeouts are milliseconds.
type Config struct {
	store.Config
	timer.Settings
	remoting.TLSSettings

	BrokerClusterName string `conf:"brokerClusterName" important:"true"`
	BrokerName        string `conf:"brokerName" important:"true"`
	BrokerID          int64  `conf:"brokerId" important:"true"`
	BrokerRole        string `conf:"brokerRole" oneof:"ASYNC_MASTER|SYNC_MASTER|SLAVE" important:"true"`
	BrokerIP1         string `conf:"brokerIP1" important:"true"` // advertised to clients
	BrokerIP2         string `conf:"brokerIP2" important:"true"` // advertised to slaves
	BindAddress       string `conf:"bindAddress"`
	ListenPort        int    `conf:"listenPort" important:"true"`   // 0: any free port
	HAListenPort      int    `conf:"haListenPort" important:"true"` // 0: listenPort + 1
	NamesrvAddr       string `conf:"namesrvAddr" important:"true"`  // host:port, separated by ;

	BrokerConfigPath string `conf:"brokerConfigPath"` // the file that -c named
	ConfigBlackList  string `conf:"configBlackList"`  // keys not changeable at run time, separated by ;

	BrokerPermission       int32  `conf:"brokerPermission"`
	DefaultTopicQueueNums  int32  `conf:"defaultTopicQueueNums"`
	AutoCreateTopicEnable  bool   `conf:"autoCreateTopicEnable" important:"true"`
	AutoCreateSubscription bool   `conf:"autoCreateSubscriptionGroup" important:"true"`
	ClusterTopicEnable     bool   `conf:"clusterTopicEnable"`
	BrokerTopicEnable      bool   `conf:"brokerTopicEnable"`
	TraceTopicEnable       bool   `conf:"traceTopicEnable" important:"true"`
	MsgTraceTopicName      string `conf:"msgTraceTopicName" important:"true"`
	TraceOn                bool   `conf:"traceOn"`
	RegionID               string `conf:"regionId"`
	ReviveQueueNum         int32  `conf:"reviveQueueNum"`
	RecallMessageEnable    bool   `conf:"recallMessageEnable"`

	AllowRecallWhenBrokerNotWriteable bool `conf:"allowRecallWhenBrokerNotWriteable"`

	RejectTransactionMessage  bool   `conf:"rejectTransactionMessage" important:"true"`
	StartAcceptSendRequest    int64  `conf:"startAcceptSendRequestTimeStamp"` // ms since 1970
	StoreReplyMessageEnable   bool   `conf:"storeReplyMessageEnable"`
	RejectPullConsumerEnable  bool   `conf:"rejectPullConsumerEnable"`
	LitePullMessageEnable     bool   `conf:"litePullMessageEnable"`
	LongPollingEnable         bool   `conf:"longPollingEnable"`
	ShortPollingTimeMills     int64  `conf:"shortPollingTimeMills"`
	SlaveReadEnable           bool   `conf:"slaveReadEnable"`
	UseServerSideResetOffset  bool   `conf:"useServerSideResetOffset"`
	EnablePropertyFilter      bool   `conf:"enablePropertyFilter"`
	FilterSupportRetry        bool   `conf:"filterSupportRetry"`
	NotifyConsumerIDsChanged  bool   `conf:"notifyConsumerIdsChangedEnable"`
	ValidateSystemTopic       bool   `conf:"validateSystemTopicWhenUpdateTopic"`
	ServerLoadBalancerEnable  bool   `conf:"serverLoadBalancerEnable"`
	DefaultMessageRequestMode string `conf:"defaultMessageRequestMode" oneof:"PULL|POP"`
	AutoDeleteUnusedStats     bool   `conf:"autoDeleteUnusedStats"`
	DefaultPopShareQueueNum   int32  `conf:"defaultPopShareQueueNum"`
	LoadBalancePollInterval   int64  `conf:"loadBalancePollNameServerInterval"`

	MaxErrorRateOfBloomFilter  int   `conf:"maxErrorRateOfBloomFilter"` // percent; with the next one sets bitMapLengthConsumeQueueExt
	ExpectConsumerNumUseFilter int   `conf:"expectConsumerNumUseFilter"`
	FilterDataCleanTimeSpan    int64 `conf:"filterDataCleanTimeSpan"`

	ChannelExpiredTimeout         int64 `conf:"channelExpiredTimeout"`
	FlushConsumerOffsetInterval   int64 `conf:"flushConsumerOffsetInterval"`
	TransactionTimeOut            int64 `conf:"transactionTimeOut" important:"true"`
	TransactionCheckMax           int   `conf:"transactionCheckMax" important:"true"`
	TransactionCheckInterval      int64 `conf:"transactionCheckInterval" important:"true"`
	TransactionOpMsgMaxSize       int   `conf:"transactionOpMsgMaxSize"` // bytes
	TransactionOpBatchInterval    int64 `conf:"transactionOpBatchInterval"`
	TransactionMetricInterval     int64 `conf:"transactionMetricFlushInterval"`
	WaitTimeMillsInTransaction    int64 `conf:"waitTimeMillsInTransactionQueue"`
	EndTransactionThreads         int   `conf:"endTransactionThreadPoolNums"`
	EndTransactionQueueCapacity   int   `conf:"endTransactionPoolQueueCapacity"`
	FlushDelayOffsetInterval      int64 `conf:"flushDelayOffsetInterval"`
	ConsumerOffsetVersionStep     int64 `conf:"consumerOffsetUpdateVersionStep"`
	DelayOffsetVersionStep        int64 `conf:"delayOffsetUpdateVersionStep"`
	RegisterNameServerPeriod      int64 `conf:"registerNameServerPeriod"` // clamped to 10…60 s
	RegisterBrokerTimeoutMills    int64 `conf:"registerBrokerTimeoutMills"`
	ForceRegister                 bool  `conf:"forceRegister"`
	CompressedRegister            bool  `conf:"compressedRegister"`
	ServerChannelMaxIdleSeconds   int   `conf:"serverChannelMaxIdleTimeSeconds"`
	BrokerFastFailureEnable       bool  `conf:"brokerFastFailureEnable"`
	WaitTimeMillsInSendQueue      int64 `conf:"waitTimeMillsInSendQueue"`
	WaitTimeMillsInPullQueue      int64 `conf:"waitTimeMillsInPullQueue"`
	WaitTimeMillsInLitePullQueue  int64 `conf:"waitTimeMillsInLitePullQueue"`
	WaitTimeMillsInHeartbeatQueue int64 `conf:"waitTimeMillsInHeartbeatQueue"`
	WaitTimeMillsInAdminQueue     int64 `conf:"waitTimeMillsInAdminBrokerQueue"`

	PullThreads              int `conf:"pullMessageThreadPoolNums"`
	LitePullThreads          int `conf:"litePullMessageThreadPoolNums"`
	QueryThreads             int `conf:"queryMessageThreadPoolNums"`
	HeartbeatThreads         int `conf:"heartbeatThreadPoolNums"`
	ClientManageThreads      int `conf:"clientManageThreadPoolNums"`
	ConsumerManageThreads    int `conf:"consumerManageThreadPoolNums"`
	AdminThreads             int `conf:"adminBrokerThreadPoolNums"`
	SendMessageThreads       int `conf:"sendMessageThreadPoolNums"`
	SendQueueCapacity        int `conf:"sendThreadPoolQueueCapacity"`
	PullQueueCapacity        int `conf:"pullThreadPoolQueueCapacity"`
	LitePullQueueCapacity    int `conf:"litePullThreadPoolQueueCapacity"`
	QueryQueueCapacity       int `conf:"queryThreadPoolQueueCapacity"`
	HeartbeatQueueCapacity   int `conf:"heartbeatThreadPoolQueueCapacity"`
	ClientQueueCapacity      int `conf:"clientManagerThreadPoolQueueCapacity"`
	ConsumerQueueCapacity    int `conf:"consumerManagerThreadPoolQueueCapacity"`
	AdminQueueCapacity       int `conf:"adminBrokerThreadPoolQueueCapacity"`
	ReplyThreads             int `conf:"processReplyMessageThreadPoolNums"`
	ReplyQueueCapacity       int `conf:"replyThreadPoolQueueCapacity"`
	LoadBalanceThreads       int `conf:"loadBalanceProcessorThreadPoolNums"`
	LoadBalanceQueueCapacity int `conf:"loadBalanceThreadPoolQueueCapacity"`

	File *conf.Properties // the file that -c named: its other keys are kept and shown
}

// DefaultConfig returns Java's defaults, with the host's name and address and
// the store in $HOME/store.
func DefaultConfig() Config {
	cpus := runtime.NumCPU()
	ip := localAddress()
	c := Config{
		Config:            store.DefaultConfig(),
		Settings:          timer.DefaultSettings(),
		TLSSettings:       remoting.DefaultTLSSettings(),
		BrokerClusterName: "DefaultCluster", BrokerName: hostName(), BrokerRole: RoleAsyncMaster,
		BrokerIP1: ip, BrokerIP2: ip, BindAddress: "0.0.0.0", ListenPort: 10911,
		NamesrvAddr: conf.NameServers(), ConfigBlackList: "configBlackList;brokerConfigPath",
		BrokerPermission: protocol.PermRead | protocol.PermWrite, DefaultTopicQueueNums: 8,
		AutoCreateTopicEnable: true, AutoCreateSubscription: true, ClusterTopicEnable: true, BrokerTopicEnable: true,
		MsgTraceTopicName: topicTrace, TraceOn: true, RegionID: "DefaultRegion", ReviveQueueNum: 8, AllowRecallWhenBrokerNotWriteable: true,
		StoreReplyMessageEnable: true, LitePullMessageEnable: true, LongPollingEnable: true, ShortPollingTimeMills: 1000,
		UseServerSideResetOffset: true, NotifyConsumerIDsChanged: true, ValidateSystemTopic: true,
		ServerLoadBalancerEnable: true, AutoDeleteUnusedStats: true, DefaultMessageRequestMode: "PULL", DefaultPopShareQueueNum: -1,
		MaxErrorRateOfBloomFilter: 20, ExpectConsumerNumUseFilter: 32, FilterDataCleanTimeSpan: 24 * 3600 * 1000,
		LoadBalancePollInterval: 30_000, ChannelExpiredTimeout: 120_000, FlushConsumerOffsetInterval: 5000,
		FlushDelayOffsetInterval: 10_000, ConsumerOffsetVersionStep: 500, DelayOffsetVersionStep: 200,
		RegisterNameServerPeriod: 30_000, RegisterBrokerTimeoutMills: 24_000, ForceRegister: true,
		TransactionTimeOut: 6000, TransactionCheckMax: 15, TransactionCheckInterval: 30_000, TransactionOpMsgMaxSize: 4096,
		TransactionOpBatchInterval: 3000, TransactionMetricInterval: 3000, WaitTimeMillsInTransaction: 3000,
		EndTransactionThreads: max(8+2*cpus, 4*min(cpus, 4)), EndTransactionQueueCapacity: 100_000,
		ServerChannelMaxIdleSeconds: 120, BrokerFastFailureEnable: true,
		WaitTimeMillsInSendQueue: 200, WaitTimeMillsInPullQueue: 5000, WaitTimeMillsInLitePullQueue: 5000, WaitTimeMillsInHeartbeatQueue: 31_000,
		WaitTimeMillsInAdminQueue: 5000,
		PullThreads:               16 + 2*cpus, LitePullThreads: 16 + 2*cpus, QueryThreads: 8 + cpus,
		HeartbeatThreads: min(32, cpus), ClientManageThreads: 32, ConsumerManageThreads: 32, AdminThreads: 16,
		SendMessageThreads: min(cpus, 4), SendQueueCapacity: 10_000, PullQueueCapacity: 100_000,
		LitePullQueueCapacity: 100_000, QueryQueueCapacity: 20_000, HeartbeatQueueCapacity: 50_000,
		ClientQueueCapacity: 1_000_000, ConsumerQueueCapacity: 1_000_000, AdminQueueCapacity: 10_000,
		LoadBalanceThreads: 32, LoadBalanceQueueCapacity: 100_000,
		ReplyThreads: 16 + 2*cpus, ReplyQueueCapacity: 10_000,
	}
	c.StorePathRootDir = filepath.Join(conf.Home(), "store")
	return c
}

// check reports the first setting that the broker cannot work with, and brings
// the others into the form that it uses.
func (c *Config) check() error {
	if c.BrokerRole != RoleSlave {
		c.BrokerID = 0
	}
	switch {
	case !slices.Contains([]string{RoleAsyncMaster, RoleSyncMaster, RoleSlave}, c.BrokerRole):
		return fmt.Errorf("brokerRole is %q, want %s, %s or %s", c.BrokerRole, RoleAsyncMaster, RoleSyncMaster, RoleSlave)
	case c.BrokerRole == RoleSlave && c.BrokerID <= 0:
		return fmt.Errorf("brokerId is %d, a slave's must be greater than 0", c.BrokerID)
	case badTopicName(c.BrokerName) != "":
		return fmt.Errorf("brokerName is %q: %s", c.BrokerName, badTopicName(c.BrokerName))
	case badTopicName(c.BrokerClusterName) != "":
		return fmt.Errorf("brokerClusterName is %q: %s", c.BrokerClusterName, badTopicName(c.BrokerClusterName))
	case c.ListenPort != 0 && (c.ListenPort < 3 || c.ListenPort > 65534):
		return fmt.Errorf("listenPort is %d, want 0 or 3 to 65534: the port before the last and the next one are used too", c.ListenPort)
	case c.DefaultTopicQueueNums < 1:
		return fmt.Errorf("defaultTopicQueueNums is %d, want at least 1", c.DefaultTopicQueueNums)
	case c.BrokerIP1 == "":
		return fmt.Errorf("brokerIP1 is empty, want the address or name that clients reach this broker at")
	}
	for _, a := range c.nameServers() {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("namesrvAddr has %q, want host:port: %w", a, err)
		}
	}
	if err := c.Settings.Check(); err != nil {
		return err
	}
	bloom, err := c.bloom()
	if err != nil {
		return err
	}
	c.BitMapLengthConsumeQueueExt = bloom.Bits
	c.RegisterNameServerPeriod = min(max(c.RegisterNameServerPeriod, 10_000), 60_000)
	return nil
}

// nameServers returns the addresses of the name servers.
func (c *Config) nameServers() []string {
	var addrs []string
	for a := range strings.SplitSeq(c.NamesrvAddr, ";") {
		if a = strings.TrimSpace(a); a != "" {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// configDir is where the JSON files are.
func (c *Config) configDir() string { return filepath.Join(c.StorePathRootDir, "config") }

func hostName() string {
	name, err := os.Hostname()
	if err != nil || badTopicName(name) != "" {
		return "DEFAULT_BROKER"
	}
	return name
}

// localAddress returns the address that others reach this host at: the first
// IPv4 address that is not a loopback, 127.0.0.1 if there is none.
func localAddress() string {
	addrs, _ := net.InterfaceAddrs() // none will do
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
