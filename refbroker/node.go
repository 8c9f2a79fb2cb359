package refbroker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"rmqbench/refbroker/internal/conf"
	"rmqbench/refbroker/internal/namesrv"
)

// Exit codes of a node, see docs/design.md.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong flags, configuration or surroundings: the user can mend it
)

// usageError is a mistake that the user can mend: what, where, what to do.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// RunNode runs one node of a cluster until ctx ends or the process is asked to
// stop (SIGINT, SIGTERM): args are those of the command refbroker, such as
// "broker", "-n", "127.0.0.1:9876", "-c", "broker.conf". The line that says
// that the node is ready goes to stdout, as Java writes it; logs and errors go
// to stderr. It returns the exit code: 0 after a clean stop, 1 when the node
// failed, 2 when flags, configuration or surroundings are wrong.
func RunNode(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	fmt.Fprintf(stderr, "refbroker: %v\n", err) //nolint:errcheck // nowhere else to say it
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "refbroker",
		Short: "A RocketMQ 5.3 compatible NameServer and broker",
		Long: `refbroker runs one node of a RocketMQ 5.3 compatible cluster. Flags, configuration
files and their keys are those of mqnamesrv and mqbroker; clients and mqadmin of
Apache RocketMQ work with it unchanged.`,
		Example: `  refbroker namesrv &
  refbroker broker -n 127.0.0.1:9876`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.AddCommand(namesrvCommand(), brokerCommand(), storeCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	return root
}

// noArgs refuses what is neither a flag nor a command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s: unknown command or argument %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// nodeFlags are the flags that all roles have, named as Java's.
type nodeFlags struct {
	configFile  string
	namesrvAddr string
	printAll    bool
	logLevel    string
}

func (f *nodeFlags) register(cmd *cobra.Command, namesrvHelp string) {
	cmd.Flags().StringVarP(&f.configFile, "configFile", "c", "", "configuration `FILE`, Java properties")
	cmd.Flags().StringVarP(&f.namesrvAddr, "namesrvAddr", "n", "", namesrvHelp)
	cmd.Flags().BoolVarP(&f.printAll, "printConfigItem", "p", false, "print all settings with their values, and exit")
	cmd.Flags().StringVar(&f.logLevel, "log", "info", "log `LEVEL` on standard error: debug, info, warn or error")
	cmd.MarkFlagFilename("configFile", "conf", "properties")                                                                                      //nolint:errcheck // the flag exists
	cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // the flag exists
}

// logger returns the node's log.
func (f *nodeFlags) logger(cmd *cobra.Command) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usagef("--log is %q, want debug, info, warn or error", f.logLevel)
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})), nil
}

// tlsFile is where Java looks for TLS settings, its default tls.config.file.
// Those of clients in it are not for us.
const tlsFile = "/etc/rocketmq/tls.properties"

// load reads the configuration file, if there is one, onto targets.
func (f *nodeFlags) load(log *slog.Logger, targets ...any) (*conf.Properties, error) {
	if p, err := conf.Load(tlsFile); err == nil {
		conf.Apply(p, targets...)
	}
	if f.configFile == "" {
		return nil, nil
	}
	p, err := conf.Load(f.configFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("configuration file %s does not exist; check the path given with -c", f.configFile)
	}
	if err != nil {
		return nil, usagef("configuration file %s cannot be read: %w; check the path given with -c", f.configFile, err)
	}
	conf.Warn(log, conf.Apply(p, targets...))
	return p, nil
}

// startError says what to do about an error of a start.
func startError(err error, portKey string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return usagef("the port is in use: %w; stop the other process or set %s in the file given with -c", err, portKey)
	}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, fs.ErrPermission) {
		return usagef("permission denied: %w; run as a user who may, or name another place in the file given with -c", err)
	}
	return err
}

// serializeType is the encoding that the ready line tells of.
func serializeType() string {
	if os.Getenv("ROCKETMQ_SERIALIZE_TYPE") == "ROCKETMQ" {
		return "ROCKETMQ"
	}
	return "JSON"
}

func namesrvCommand() *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "namesrv [-c FILE]",
		Short: "Run a NameServer, as mqnamesrv does",
		Example: `  refbroker namesrv
  refbroker namesrv -c namesrv.conf      # with listenPort=9877 in it
  refbroker namesrv -c namesrv.conf -p   # what would be in force`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runNamesrv(cmd, &f) },
	}
	f.register(cmd, "accepted because mqnamesrv accepts it; has no effect")
	return cmd
}

func runNamesrv(cmd *cobra.Command, f *nodeFlags) error {
	log, err := f.logger(cmd)
	if err != nil {
		return err
	}
	cfg := namesrv.DefaultConfig()
	if cfg.File, err = f.load(log, &cfg); err != nil {
		return err
	}
	if f.configFile != "" {
		cfg.ConfigStorePath = f.configFile
		fmt.Fprintf(cmd.OutOrStdout(), "load config properties file OK, %s\n", f.configFile) //nolint:errcheck // see RunNode
	}
	if f.printAll {
		_, err := io.WriteString(cmd.OutOrStdout(), conf.Format(nil, &cfg))
		return err
	}
	if cfg.ListenPort < 0 || cfg.ListenPort > 65535 {
		return usagef("listenPort is %d in %s, want 0 to 65535", cfg.ListenPort, f.configFile)
	}
	ns := namesrv.New(cfg, log)
	if err := ns.Start(); err != nil {
		return errors.Join(startError(err, "listenPort"), ns.Close())
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "The Name Server boot success. serializeType=%s, address %s:%d\n",
		serializeType(), cfg.BindAddress, ns.Addr().Port())
	if err == nil {
		<-cmd.Context().Done()
	}
	return errors.Join(err, ns.Close())
}
