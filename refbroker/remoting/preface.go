package remoting

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// What a connection may open with. The first byte tells: of a frame it is 0 or
// 1, because frames are shorter than 32 MiB.
const (
	tlsHello        = 0x16
	proxyV1Longest  = 107 // line ending included
	proxyV2Fixed    = 16
	proxyV2Longest  = 1 << 12 // longer than all TLVs in use
	handshakeWithin = 10 * time.Second
)

var (
	proxyV1Start = []byte("PROXY ")
	proxyV2Start = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

var (
	errBadProxy = errors.New("bad proxy protocol header")
	errTLSOnly  = errors.New("plain connection, TLS is enforced")
	errNoTLS    = errors.New("TLS connection, TLS is disabled")
)

// ProxyHeader is what a load balancer said of the client with the proxy
// protocol, version 1 or 2 (haproxy.org, proxy-protocol.txt).
type ProxyHeader struct {
	Source, Destination netip.AddrPort // not valid: unknown, or the load balancer's own check
	TLVs                []TLV
}

// TLV is one typed value of version 2.
type TLV struct {
	Type  byte
	Value []byte
}

// preface deals with what may come before the first frame: the proxy protocol, then TLS.
func (s *Server) preface(c *Conn) error {
	if err := c.frames.need(1); err != nil {
		return err
	}
	switch first := c.frames.buf[c.frames.start]; first {
	case proxyV1Start[0], proxyV2Start[0]:
		if err := c.readProxy(first == proxyV1Start[0]); err != nil {
			return err
		}
		if err := c.frames.need(1); err != nil {
			return err
		}
	}
	secure := c.frames.buf[c.frames.start] == tlsHello
	switch {
	case secure && s.opts.TLS == TLSDisabled:
		return errNoTLS
	case !secure && s.opts.TLS == TLSEnforcing:
		return errTLSOnly
	case secure:
		return s.startTLS(c)
	}
	return nil
}

func (c *Conn) readProxy(v1 bool) error {
	var h *ProxyHeader
	var err error
	if v1 {
		h, err = c.frames.proxyV1()
	} else {
		h, err = c.frames.proxyV2()
	}
	if err != nil {
		return err
	}
	a := *c.addrs.Load()
	a.proxy = h
	if h.Source.IsValid() {
		a.remote = h.Source
	}
	c.addrs.Store(&a)
	return nil
}

func (f *frameReader) proxyV1() (*ProxyHeader, error) {
	for n := len(proxyV1Start); ; n++ {
		if n > proxyV1Longest {
			return nil, fmt.Errorf("%w: line too long", errBadProxy)
		}
		if err := f.need(n); err != nil {
			return nil, err
		}
		line := f.buf[f.start : f.start+n]
		if !bytes.HasPrefix(line, proxyV1Start) {
			return nil, fmt.Errorf("%w: starts with %q", errBadProxy, line)
		}
		if line[n-1] == '\n' {
			f.start += n
			return parseProxyV1(strings.TrimRight(string(line), "\r\n"))
		}
	}
}

// parseProxyV1 reads "PROXY TCP4 source destination sourceport destinationport".
func parseProxyV1(line string) (*ProxyHeader, error) {
	w := strings.Split(line, " ")
	if len(w) >= 2 && w[1] == "UNKNOWN" {
		return &ProxyHeader{}, nil
	}
	if len(w) != 6 || w[1] != "TCP4" && w[1] != "TCP6" {
		return nil, fmt.Errorf("%w: %q", errBadProxy, line)
	}
	source, err1 := netip.ParseAddrPort(net.JoinHostPort(w[2], w[4]))
	destination, err2 := netip.ParseAddrPort(net.JoinHostPort(w[3], w[5]))
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", errBadProxy, line, err)
	}
	return &ProxyHeader{Source: source, Destination: destination}, nil
}

// proxyV2 reads the binary form:
//
//	offset  bytes  field
//	     0     12  signature
//	    12      1  version 2 in the high half; command 0 LOCAL, 1 PROXY
//	    13      1  family in the high half: 1 IPv4, 2 IPv6; protocol: 1 stream
//	    14      2  length of what follows
//	    16         source and destination address, source and destination port, TLVs
func (f *frameReader) proxyV2() (*ProxyHeader, error) {
	if err := f.need(proxyV2Fixed); err != nil {
		return nil, err
	}
	fixed := f.buf[f.start : f.start+proxyV2Fixed]
	if !bytes.HasPrefix(fixed, proxyV2Start) || fixed[12]>>4 != 2 {
		return nil, fmt.Errorf("%w: starts with %q", errBadProxy, fixed)
	}
	command, family := fixed[12]&15, fixed[13]
	size := int(binary.BigEndian.Uint16(fixed[14:]))
	if size > proxyV2Longest-proxyV2Fixed {
		return nil, fmt.Errorf("%w: %d bytes", errBadProxy, size)
	}
	if err := f.need(proxyV2Fixed + size); err != nil {
		return nil, err
	}
	rest := bytes.Clone(f.buf[f.start+proxyV2Fixed : f.start+proxyV2Fixed+size])
	f.start += proxyV2Fixed + size
	if command == 0 {
		return &ProxyHeader{}, nil
	}
	return parseProxyV2(family, rest)
}

func parseProxyV2(family byte, b []byte) (*ProxyHeader, error) {
	size := map[byte]int{0x11: 4, 0x21: 16}[family]
	if size == 0 { // UDP, UNIX, unspecified: nothing that we could use
		return &ProxyHeader{}, nil
	}
	if len(b) < 2*size+4 {
		return nil, fmt.Errorf("%w: %d bytes of addresses", errBadProxy, len(b))
	}
	source, _ := netip.AddrFromSlice(b[:size])
	destination, _ := netip.AddrFromSlice(b[size : 2*size])
	ports := b[2*size:]
	h := &ProxyHeader{
		Source:      netip.AddrPortFrom(source, binary.BigEndian.Uint16(ports)),
		Destination: netip.AddrPortFrom(destination, binary.BigEndian.Uint16(ports[2:])),
	}
	for b = ports[4:]; len(b) > 0; {
		if len(b) < 3 || int(binary.BigEndian.Uint16(b[1:])) > len(b)-3 {
			return nil, fmt.Errorf("%w: TLV cut short", errBadProxy)
		}
		n := int(binary.BigEndian.Uint16(b[1:]))
		h.TLVs = append(h.TLVs, TLV{b[0], b[3 : 3+n]})
		b = b[3+n:]
	}
	return h, nil
}

// startTLS puts TLS between the socket and the frames.
func (s *Server) startTLS(c *Conn) error {
	config, err := s.tls()
	if err != nil {
		return err
	}
	f := &c.frames
	tc := tls.Server(&bufferedConn{Conn: c.nc, head: bytes.Clone(f.buf[f.start:f.end])}, config)
	f.start, f.end = 0, 0
	ctx, cancel := context.WithTimeout(context.Background(), handshakeWithin)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc, c.raw, f.src = tc, nil, tc
	return nil
}

func (s *Server) tls() (*tls.Config, error) {
	s.tlsOnce.Do(func() {
		if s.tlsConfig = s.opts.TLSConfig; s.tlsConfig == nil {
			s.tlsConfig, s.tlsErr = selfSigned()
		}
	})
	return s.tlsConfig, s.tlsErr
}

// bufferedConn reads head before the rest.
type bufferedConn struct {
	net.Conn
	head []byte
}

func (b *bufferedConn) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	return b.Conn.Read(p)
}
