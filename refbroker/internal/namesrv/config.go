package namesrv

import (
	"path/filepath"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/remoting"
)

// Config holds the keys of Java's NamesrvConfig, and of NettyServerConfig what
// a NameServer needs. Intervals are milliseconds unless their name says otherwise.
type Config struct {
	RocketmqHome    string `conf:"rocketmqHome"`
	KVConfigPath    string `conf:"kvConfigPath"`
	ConfigStorePath string `conf:"configStorePath"`
	ConfigBlackList string `conf:"configBlackList"` // keys not changeable at run time, separated by ;

	BindAddress string `conf:"bindAddress"`
	ListenPort  int    `conf:"listenPort"` // 0: any free port
	MaxIdle     int    `conf:"serverChannelMaxIdleTimeSeconds"`

	ClusterTest           bool   `conf:"clusterTest"`
	ProductEnvName        string `conf:"productEnvName"`
	AddressServerDomain   string `conf:"rmqAddressServerDomain"`   // where clusterTest asks for the other environment
	AddressServerSubGroup string `conf:"rmqAddressServerSubGroup"` //
	OrderMessageEnable    bool   `conf:"orderMessageEnable"`
	ReturnOrderConfig     bool   `conf:"returnOrderTopicConfigToBroker"`
	EnableAllTopicList    bool   `conf:"enableAllTopicList"`
	EnableTopicList       bool   `conf:"enableTopicList"`
	NeedWaitForService    bool   `conf:"needWaitForService"`
	WaitSecondsForService int    `conf:"waitSecondsForService"`
	DeleteTopicWithBroker bool   `conf:"deleteTopicWithBrokerRegistration"`

	ScanInterval            int64 `conf:"scanNotActiveBrokerInterval"`
	UnregisterQueueCapacity int   `conf:"unRegisterBrokerQueueCapacity"`
	ClientThreads           int   `conf:"clientRequestThreadPoolNums"`
	ClientQueueCapacity     int   `conf:"clientRequestThreadPoolQueueCapacity"`
	DefaultThreads          int   `conf:"defaultThreadPoolNums"`
	DefaultQueueCapacity    int   `conf:"defaultThreadPoolQueueCapacity"`

	remoting.TLSSettings

	File *conf.Properties // the file that -c named: its other keys are kept and shown
}

// DefaultConfig returns Java's defaults, with the files in $HOME/namesrv.
func DefaultConfig() Config {
	home := filepath.Join(conf.Home(), "namesrv")
	return Config{
		RocketmqHome:    conf.RocketMQHome(),
		KVConfigPath:    filepath.Join(home, "kvConfig.json"),
		ConfigStorePath: filepath.Join(home, "namesrv.properties"),
		ConfigBlackList: "configBlackList;configStorePath;kvConfigPath",
		BindAddress:     "0.0.0.0", ListenPort: 9876, MaxIdle: 120,
		ProductEnvName: "center", AddressServerDomain: "jmenv.tbsite.net", AddressServerSubGroup: "nsaddr",
		ReturnOrderConfig: true, EnableAllTopicList: true, EnableTopicList: true, WaitSecondsForService: 45,
		ScanInterval: 5000, UnregisterQueueCapacity: 3000,
		TLSSettings:   remoting.DefaultTLSSettings(),
		ClientThreads: 8, ClientQueueCapacity: 50_000, DefaultThreads: 16, DefaultQueueCapacity: 10_000,
	}
}
