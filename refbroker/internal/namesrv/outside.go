package namesrv

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// outside is the environment that a NameServer with clusterTest=true asks for
// the topics that it does not know itself: the NameServers that an address
// server lists for productEnvName.
type outside struct {
	log    *slog.Logger
	url    string
	client *remoting.Client
	http   http.Client
}

const (
	outsideTimeout = 3 * time.Second
	maxAddressList = 64 << 10
)

func newOutside(cfg Config, log *slog.Logger) *outside {
	domain := cfg.AddressServerDomain
	if !strings.Contains(domain, ":") {
		domain += ":8080"
	}
	return &outside{
		log:    log,
		url:    fmt.Sprintf("http://%s/rocketmq/%s-%s?nofix=1", domain, cfg.AddressServerSubGroup, cfg.ProductEnvName),
		client: remoting.NewClient(remoting.ClientOptions{Log: log, Timeout: outsideTimeout}),
		http:   http.Client{Timeout: outsideTimeout},
	}
}

func (o *outside) close() {
	o.client.Close()
	o.http.CloseIdleConnections()
}

// route asks one NameServer after the other; nil if none knows the topic.
func (o *outside) route(topic string) *protocol.TopicRouteData {
	addrs, err := o.addresses()
	if err != nil {
		o.log.Warn("other environment not found", "url", o.url, "err", err)
	}
	for _, addr := range addrs {
		d, err := o.ask(addr, topic)
		if err == nil {
			return d
		}
		o.log.Info("route not found in the other environment", "topic", topic, "namesrv", addr, "err", err)
	}
	return nil
}

// addresses returns the first line that the address server answers, split at the semicolons.
func (o *outside) addresses() ([]string, error) {
	resp, err := o.http.Get(o.url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAddressList))
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answer %s: %w", resp.Status, err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return strings.FieldsFunc(first, func(r rune) bool { return r == ';' || r == '\r' || r == ' ' }), nil
}

func (o *outside) ask(addr, topic string) (*protocol.TopicRouteData, error) {
	resp, err := o.client.Invoke(context.Background(), addr, &protocol.Command{
		Code:   protocol.CodeGetRouteInfoByTopic,
		Fields: protocol.Fields{{Key: "topic", Value: topic}, {Key: "acceptStandardJsonOnly", Value: "true"}},
	})
	if err != nil {
		return nil, err
	}
	if resp.Code != protocol.RespSuccess {
		return nil, fmt.Errorf("code %d: %s", resp.Code, resp.Remark)
	}
	d := &protocol.TopicRouteData{}
	return d, protocol.Unmarshal(resp.Body, d)
}
