package broker

import (
	"strconv"
	"strings"

	"rmqbench/refbroker/protocol"
)

// sendProps is what the broker looks at in the properties of a message.
type sendProps struct {
	source     string
	uniqKey    string
	keys       string
	tran       string
	delay      int  // level
	badDelay   bool // the level is no number
	timer      bool // it has a property of the timer
	when       timerCall
	dirty      bool // some are not to be stored as they are
	deadLetter bool
	capped     bool // delay is not what the client wrote
}

func (p *sendProps) read(properties string) {
	*p = sendProps{source: properties}
	protocol.EachProperty(properties, func(name, value string) bool {
		switch name {
		case protocol.PropUniqKey:
			p.uniqKey = value
		case protocol.PropKeys:
			p.keys = value
		case protocol.PropTransactionPrepared:
			p.tran = value
		case protocol.PropDelay:
			level, err := strconv.ParseInt(value, 10, 32)
			p.delay, p.badDelay = int(level), err != nil
		case protocol.PropTimerDelaySec, protocol.PropTimerDelayMs, protocol.PropTimerDeliverMs:
			p.timer = true
			p.when.read(name, value)
		case protocol.PropTimerOutMs, protocol.PropTimerDelUniqKey:
			p.when.read(name, value)
		case protocol.PropPopCK, protocol.PropMsgRegion, protocol.PropTraceOn, protocol.PropCluster:
			p.dirty = true
		}
		return true
	})
}

// capDelay limits the delay to the highest level there is.
func (p *sendProps) capDelay(limit int) {
	if p.delay > limit {
		p.delay, p.capped = limit, true
	}
}

func (p *sendProps) transaction() bool { return strings.EqualFold(p.tran, "true") }

// stored reports whether a property of the client goes into the log.
func (p *sendProps) stored(name string) bool {
	switch name {
	case protocol.PropPopCK, protocol.PropMsgRegion, protocol.PropTraceOn, protocol.PropCluster:
		return false
	case protocol.PropTimerDelaySec, protocol.PropTimerDelayMs, protocol.PropTimerDeliverMs:
		return p.delay <= 0
	case protocol.PropDelay:
		return !p.deadLetter && !p.capped
	}
	return true
}

// appendStored appends the properties of a single message as they are stored,
// a new UNIQ_KEY last if the client gave none.
func (p *sendProps) appendStored(dst []byte, cfg *Config) []byte {
	dst = p.appendCommon(dst, cfg)
	if p.deadLetter || p.capped {
		dst = protocol.AppendProperty(dst, protocol.PropDelay, strconv.Itoa(p.delay))
	}
	if p.uniqKey == "" {
		dst = append(dst, protocol.PropUniqKey...)
		dst = append(dst, 1)
		dst = protocol.AppendUniqKey(dst)
		dst = append(dst, 2)
	}
	return dst
}

// appendCommon appends the client's properties and those that every message gets.
func (p *sendProps) appendCommon(dst []byte, cfg *Config) []byte {
	if p.dirty || p.deadLetter || p.capped || p.timer && p.delay > 0 {
		protocol.EachProperty(p.source, func(name, value string) bool {
			if p.stored(name) {
				dst = protocol.AppendProperty(dst, name, value)
			}
			return true
		})
	} else {
		dst = append(dst, p.source...)
	}
	dst = protocol.AppendProperty(dst, protocol.PropMsgRegion, cfg.RegionID)
	dst = protocol.AppendProperty(dst, protocol.PropTraceOn, strconv.FormatBool(cfg.TraceOn))
	return protocol.AppendProperty(dst, protocol.PropCluster, cfg.BrokerClusterName)
}
