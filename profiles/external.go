package profiles

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// attached is somebody else's cluster: we know its addresses and no more.
type attached struct {
	addresses []string
	exits     chan Exit
	stopped   bool
}

// reachBound is how long one name server may take to accept a connection.
const reachBound = 5 * time.Second

// attach checks that one name server at least accepts connections.
func attach(ctx context.Context, p *Profile, opt Options) (Cluster, error) {
	if len(opt.Overrides) > 0 {
		return nil, errors.New("the settings of an external broker are not ours to change: leave --set broker.… out")
	}
	if len(p.NameServers) == 0 {
		return nil, errors.New("an external target needs the address of its NameServer: give --set namesrv=HOST:PORT, or a profile file with kind external and namesrv")
	}
	var failed error
	for _, address := range p.NameServers {
		dialer := net.Dialer{Timeout: reachBound}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
			return &attached{addresses: p.NameServers, exits: make(chan Exit)}, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("no NameServer answers; check the address and that it is up: %w", failed)
}

func (a *attached) NameServers() []string       { return a.addresses }
func (a *attached) Settings() map[string]string { return map[string]string{} }
func (a *attached) Exits() <-chan Exit          { return a.exits }

func (a *attached) Nodes() []Node {
	all := make([]Node, len(a.addresses))
	for i, address := range a.addresses {
		all[i] = Node{Name: address, Role: RoleNameServer, Address: address}
	}
	return all
}

// ErrNotOurs says that a fault was asked for on a node that this program did not start.
var ErrNotOurs = errors.New("the nodes of an external target are not ours to stop: use a profile whose nodes this program starts")

func (a *attached) Restart(context.Context, string, time.Duration) error { return ErrNotOurs }
func (a *attached) Kill(context.Context, string, time.Duration) error    { return ErrNotOurs }
func (a *attached) Freeze(context.Context, string, time.Duration) error  { return ErrNotOurs }

func (a *attached) Stop(context.Context) error {
	if !a.stopped {
		a.stopped = true
		close(a.exits)
	}
	return nil
}
