package refbroker

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rmqbench/refbroker/internal/broker"
	"rmqbench/refbroker/internal/conf"
)

// brokerFlags are the flags of mqbroker.
type brokerFlags struct {
	nodeFlags
	printImportant bool
	enableProxy    bool
}

func brokerCommand() *cobra.Command {
	var f brokerFlags
	cmd := &cobra.Command{
		Use:   "broker [-n ADDRESS] [-c FILE]",
		Short: "Run a broker, as mqbroker does",
		Example: `  refbroker broker -n 127.0.0.1:9876
  refbroker broker -n '127.0.0.1:9876;127.0.0.1:9877' -c conf/2m-noslave/broker-a.properties
  refbroker broker -c broker.conf -p     # what would be in force`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBroker(cmd, &f) },
	}
	f.register(cmd, "`ADDRESSES` of the NameServers, host:port separated by ;")
	cmd.Flags().BoolVarP(&f.printImportant, "printImportantConfig", "m", false, "print the important settings with their values, and exit")
	cmd.Flags().BoolVar(&f.enableProxy, "enable-proxy", false, "refused: refbroker has no proxy yet")
	return cmd
}

func runBroker(cmd *cobra.Command, f *brokerFlags) error {
	log, err := f.logger(cmd)
	if err != nil {
		return err
	}
	if f.enableProxy {
		return usagef("--enable-proxy: refbroker has no proxy yet; start the broker without it and connect remoting clients to its own port")
	}
	cfg := broker.DefaultConfig()
	if cfg.File, err = f.load(log, &cfg); err != nil {
		return err
	}
	cfg.BrokerConfigPath = f.configFile
	if f.namesrvAddr != "" { // the command line wins
		cfg.NamesrvAddr = f.namesrvAddr
	}
	if f.printAll || f.printImportant {
		return printSettings(cmd.OutOrStdout(), f, &cfg)
	}
	b, err := broker.New(cfg, log)
	if err != nil {
		return usagef("%w; see the file given with -c", err)
	}
	if err := b.Start(); err != nil {
		return startError(err, "listenPort")
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), brokerReady(b, &cfg)); err != nil {
		return errors.Join(err, b.Close())
	}
	<-cmd.Context().Done()
	return b.Close()
}

func printSettings(w io.Writer, f *brokerFlags, cfg *broker.Config) error {
	text := conf.Format(nil, cfg)
	if f.printImportant {
		text = conf.FormatImportant(cfg)
	}
	_, err := io.WriteString(w, text)
	return err
}

// brokerReady is the line with which Java's broker says that it serves.
func brokerReady(b *broker.Broker, cfg *broker.Config) string {
	line := fmt.Sprintf("The broker[%s, %s] boot success. serializeType=%s", b.Name(), b.Addr(), serializeType())
	if names := strings.TrimSpace(cfg.NamesrvAddr); names != "" {
		line += " and name server is " + names
	}
	return line + "\n"
}
