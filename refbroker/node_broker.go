package refbroker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/spf13/cobra"

	"rmqbench/refbroker/internal/broker"
	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/internal/store"
)

type brokerFlags struct {
	nodeFlags
	printImportant bool
	enableProxy    bool
}

func brokerCommand() *cobra.Command {
	var f brokerFlags
	cmd := &cobra.Command{
		Use:   "broker [-n ADDR] [-c FILE]",
		Short: "Run a broker, as mqbroker does",
		Example: `  refbroker broker -n 127.0.0.1:9876
  refbroker broker -n 127.0.0.1:9876 -c conf/2m-noslave/broker-a.properties
  refbroker broker -c broker.conf -m     # the important settings in force`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBroker(cmd, &f) },
	}
	f.register(cmd, "NameServer `ADDR`esses, host:port separated by \";\" (default: namesrvAddr of the file, else $NAMESRV_ADDR)")
	cmd.Flags().BoolVarP(&f.printImportant, "printImportantConfig", "m", false, "print the important settings with their values, and exit")
	cmd.Flags().BoolVar(&f.enableProxy, "enable-proxy", false, "not offered by this version")
	return cmd
}

func runBroker(cmd *cobra.Command, f *brokerFlags) error {
	if f.enableProxy {
		return usagef("--enable-proxy: this version has no proxy; start the broker without the flag, clients connect to it directly")
	}
	log, err := f.logger(cmd)
	if err != nil {
		return err
	}
	cfg, err := f.config(log)
	if err != nil {
		return err
	}
	switch {
	case f.printAll:
		_, err = io.WriteString(cmd.OutOrStdout(), conf.Format(nil, &cfg))
		return err
	case f.printImportant:
		_, err = io.WriteString(cmd.OutOrStdout(), conf.FormatOnly(importantKeys, &cfg))
		return err
	}
	if cfg.BrokerRole == broker.RoleSlave {
		return usagef("brokerRole is %s: this version does not replicate; start the masters alone, or make it %s in %s",
			broker.RoleSlave, broker.RoleAsyncMaster, f.where())
	}
	b, err := broker.New(cfg, log)
	if err != nil {
		return usagef("%w; mend it in %s", err, f.where())
	}
	if err := b.Start(); err != nil {
		return errors.Join(brokerStartError(err, f.where()), b.Close())
	}
	if _, err = fmt.Fprintln(cmd.OutOrStdout(), bootLine(&cfg, b.Addr())); err == nil {
		<-cmd.Context().Done()
	}
	return errors.Join(err, b.Close())
}

// config returns the settings in force: Java's defaults, then the file, then the flags.
func (f *brokerFlags) config(log *slog.Logger) (broker.Config, error) {
	cfg := broker.DefaultConfig()
	file, err := f.load(log, &cfg)
	if err != nil {
		return cfg, err
	}
	cfg.File = file
	if f.configFile != "" {
		cfg.BrokerConfigPath = f.configFile
	}
	if f.namesrvAddr != "" {
		cfg.NamesrvAddr = f.namesrvAddr
	}
	return cfg, nil
}

// where says where settings are to be mended.
func (f *brokerFlags) where() string {
	if f.configFile == "" {
		return "a file given with -c, or the flags"
	}
	return f.configFile
}

func brokerStartError(err error, where string) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return usagef("the store is in use: %w; stop the other broker or set storePathRootDir in the file given with -c", err)
	case errors.Is(err, store.ErrConfig):
		return usagef("%w; mend it in %s", err, where)
	case errors.Is(err, store.ErrFolder):
		return usagef("%w", err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EEXIST),
		errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrNotExist):
		return usagef("the store's folder cannot be made: %w; move away what is in its place, or set storePathRootDir in the file given with -c", err)
	}
	return startError(err, "listenPort")
}

// bootLine is what mqbroker prints once it is ready.
func bootLine(cfg *broker.Config, addr string) string {
	line := fmt.Sprintf("The broker[%s, %s] boot success. serializeType=%s", cfg.BrokerName, addr, serializeType())
	if cfg.NamesrvAddr != "" {
		line += " and name server is " + cfg.NamesrvAddr
	}
	return line
}

// importantKeys are the settings that mqbroker -m shows, of those that the broker has.
var importantKeys = []string{
	"namesrvAddr", "listenPort", "brokerIP1", "brokerName", "brokerClusterName", "brokerId", "brokerRole",
	"autoCreateTopicEnable", "autoCreateSubscriptionGroup", "msgTraceTopicName", "traceTopicEnable",
	"rejectTransactionMessage", "fetchNameSrvAddrByDnsLookup", "fetchNamesrvAddrByAddressServer",
	"transactionTimeOut", "transactionCheckMax", "transactionCheckInterval", "aclEnable",
	"storePathRootDir", "storePathCommitLog", "flushDiskType", "flushIntervalCommitLog", "flushCommitLogTimed",
	"commitIntervalCommitLog", "deleteWhen", "fileReservedTime", "deleteFileBatchMax", "cleanFileForciblyEnable",
	"maxTransferBytesOnMessageInMemory", "maxTransferCountOnMessageInMemory",
	"maxTransferBytesOnMessageInDisk", "maxTransferCountOnMessageInDisk", "accessMessageInMemoryMaxRatio",
	"messageIndexEnable", "messageIndexSafe", "haMasterAddress", "transientStorePoolEnable", "wakeFlushWhenPutMessage",
	"totalReplicas", "inSyncReplicas", "minInSyncReplicas", "allAckInSyncStateSet", "enableAutoInSyncReplicas",
}
