package refbroker_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"rmqbench/refbroker"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

func startCluster(t *testing.T, cfg refbroker.Config) *refbroker.Cluster {
	t.Helper()
	c, err := refbroker.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ask sends a request and returns the answer, which must be a success.
func ask(t *testing.T, addr string, code int32, kv ...string) *protocol.Command {
	t.Helper()
	client := remoting.NewClient(remoting.ClientOptions{})
	defer client.Close()
	cmd := &protocol.Command{Code: code}
	for i := 0; i < len(kv); i += 2 {
		cmd.Fields.Set(kv[i], kv[i+1])
	}
	resp, err := client.Invoke(context.Background(), addr, cmd)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Code != protocol.RespSuccess {
		t.Fatalf("request %d: code %d %s", code, resp.Code, resp.Remark)
	}
	return resp
}

// TestNothingIsLeft runs before the parallel tests.
func TestNothingIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c, err := refbroker.Start(t.Context(), refbroker.Config{Brokers: 2})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, c.Brokers()[0].Addr, protocol.CodeGetAllTopicConfig)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

// TestManyClusters starts clusters side by side and asks each for its brokers.
func TestManyClusters(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := refbroker.Start(context.Background(), refbroker.Config{Brokers: 2})
			if err != nil {
				t.Error(err)
				return
			}
			var info protocol.ClusterInfo
			if err := protocol.Unmarshal(ask(t, c.NameServer(), protocol.CodeGetBrokerClusterInfo).Body, &info); err != nil {
				t.Error(err)
			}
			for _, n := range c.Brokers() {
				if got := info.BrokerAddrTable[n.Name].BrokerAddrs[0]; got != n.Addr {
					t.Errorf("name server says %s is at %q, want %s", n.Name, got, n.Addr)
				}
			}
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(c.Dir()); !os.IsNotExist(err) {
				t.Errorf("temporary folder is still there: %v", err)
			}
		})
	}
	wg.Wait()
}

// BenchmarkStart is what a test that wants a cluster waits for.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c, err := refbroker.Start(b.Context(), refbroker.Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := c.Stop(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	c := startCluster(t, refbroker.Config{Broker: map[string]string{"brokerClusterName": "mine", "defaultTopicQueueNums": "3"}})
	var route protocol.TopicRouteData
	body := ask(t, c.NameServer(), protocol.CodeGetRouteInfoByTopic, "topic", "TBW102", "acceptStandardJsonOnly", "true").Body
	if err := protocol.Unmarshal(body, &route); err != nil {
		t.Fatal(err)
	}
	if route.BrokerDatas[0].Cluster != "mine" || route.QueueDatas[0].WriteQueueNums != 3 {
		t.Errorf("route %s", body)
	}
	for _, broken := range []map[string]string{{"noSuchKey": "1"}, {"listenPort": "many"}, {"listenPort": "70000"}} {
		if c, err := refbroker.Start(t.Context(), refbroker.Config{Broker: broken}); err == nil {
			t.Errorf("started with %v", broken)
			c.Stop() //nolint:errcheck // it should not have started
		} else {
			t.Log(err)
		}
	}
}
