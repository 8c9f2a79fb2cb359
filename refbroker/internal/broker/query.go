package broker

import (
	"fmt"
	"slices"

	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// maxQueryBytes bounds the answer to a query, which has to fit a frame.
const maxQueryBytes = protocol.MaxFrame - 64<<10

// queryHeader is the header of the answer to QUERY_MESSAGE.
type queryHeader struct{ time, phys int64 }

func (h *queryHeader) AppendTo(e *protocol.FieldEncoder) {
	e.Int("indexLastUpdateTimestamp", h.time)
	e.Int("indexLastUpdatePhyoffset", h.phys)
}

// queryMessage handles QUERY_MESSAGE: the messages of a topic with a key, by the index.
func (b *Broker) queryMessage(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	topic, key := f.String("topic"), f.String("key")
	limit := int(f.Int32("maxNum"))
	begin, end := f.Int64("beginTimestamp"), f.Int64("endTimestamp")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	if v, _ := f.Fields.Get(protocol.FieldUniqueKeyQuery); v == "true" {
		limit = b.config().DefaultQueryMaxNum
	}
	var records []byte
	resp := r.Response()
	last, phys := b.store.QueryKeys(topic, key, limit, begin, end, func(record []byte) {
		if len(records)+len(record) <= maxQueryBytes {
			records = append(records, record...)
		}
	})
	resp.Header = &queryHeader{last, phys}
	if len(records) == 0 {
		resp.Code, resp.Remark = protocol.RespQueryNotFound, "can not find message, maybe time range not correct"
	}
	resp.Body = records
	r.Reply(resp)
}

// viewMessage handles VIEW_MESSAGE_BY_ID: the message at an offset of the log.
func (b *Broker) viewMessage(r *remoting.Request) {
	f := protocol.FieldReader{Fields: r.Fields}
	at := f.Int64("offset")
	if err := f.Err(); err != nil {
		r.Error(protocol.RespSystemError, err.Error())
		return
	}
	resp := r.Response()
	err := b.store.Lookup(at, func(record []byte) error {
		resp.Body = slices.Clone(record)
		return nil
	})
	if err != nil {
		r.Error(protocol.RespSystemError, fmt.Sprintf("can not find message by the offset, %d", at))
		return
	}
	r.Reply(resp)
}
