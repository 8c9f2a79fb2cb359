package broker

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"rmqbench/refbroker/internal/store"
	"rmqbench/refbroker/protocol"
	"rmqbench/refbroker/remoting"
)

// runtimeInfo handles GET_BROKER_RUNTIME_INFO: what mqadmin shows of a broker.
func (b *Broker) runtimeInfo(r *remoting.Request) {
	st := b.store.Stats()
	table := map[string]string{}
	for _, part := range []map[string]string{b.identityInfo(), b.trafficInfo(&st), b.storeInfo(&st), b.poolInfo(), b.scheduleInfo(), b.timerInfo()} {
		maps.Copy(table, part)
	}
	replyJSON(r, &protocol.KVTable{Table: table})
}

func (b *Broker) identityInfo() map[string]string {
	cfg := b.config()
	return map[string]string{
		"brokerActive":                    strconv.FormatBool(!b.isSlave()),
		"brokerVersionDesc":               protocol.VersionDesc,
		"brokerVersion":                   number(protocol.Version),
		"bootTimestamp":                   number(b.started.UnixMilli()),
		"runtime":                         runtimeText(time.Since(b.started)),
		"startAcceptSendRequestTimeStamp": number(cfg.StartAcceptSendRequest),
	}
}

// runtimeText writes a span of time as Java's broker does.
func runtimeText(d time.Duration) string {
	s := int64(d / time.Second)
	return fmt.Sprintf("[ %d days, %d hours, %d minutes, %d seconds ]", s/86400, s/3600%24, s/60%60, s%60)
}

func (b *Broker) trafficInfo(st *store.Stats) map[string]string {
	h := &b.stats.history
	today, yesterday := b.stats.days.mornings()
	average := 0.0
	if st.PutMessages > 0 {
		average = float64(st.PutBytes) / float64(st.PutMessages)
	}
	return map[string]string{
		"putTps":                      h.rates(func(s *sample) int64 { return s.put }),
		"getFoundTps":                 h.rates(func(s *sample) int64 { return s.found }),
		"getMissTps":                  h.rates(func(s *sample) int64 { return s.miss }),
		"getTotalTps":                 h.rates(func(s *sample) int64 { return s.found + s.miss }),
		"getTransferredTps":           h.rates(func(s *sample) int64 { return s.transferred }),
		"msgPutTotalYesterdayMorning": number(yesterday.put),
		"msgPutTotalTodayMorning":     number(today.put),
		"msgPutTotalTodayNow":         number(b.stats.put.sum.Load()),
		"msgGetTotalYesterdayMorning": number(yesterday.get),
		"msgGetTotalTodayMorning":     number(today.get),
		"msgGetTotalTodayNow":         number(b.stats.get.sum.Load()),
		"putMessageTimesTotal":        number(st.PutMessages),
		"putMessageFailedTimes":       number(st.PutFailed),
		"putMessageSizeTotal":         number(st.PutBytes),
		"putMessageAverageSize":       strconv.FormatFloat(average, 'f', -1, 64),
		"putMessageEntireTimeMax":     number(st.PutMaxMillis),
		"putMessageDistributeTime":    distribution(st),
	}
}

// rates writes the events per second of the last 10, 60 and 600 seconds.
func (h *history) rates(counter func(*sample) int64) string {
	return ratio(h.rate(10, counter)) + " " + ratio(h.rate(60, counter)) + " " + ratio(h.rate(600, counter))
}

// distribution writes how many appends took how long, as Java's broker does.
func distribution(st *store.Stats) string {
	var text strings.Builder
	for i, label := range putTimes {
		fmt.Fprintf(&text, "%s:%d  ", label, st.PutDistribution[i])
	}
	return text.String()
}

// putTimes names the buckets of store.Stats.PutDistribution.
var putTimes = [...]string{
	"[<=0ms]", "[0~10ms]", "[10~50ms]", "[50~100ms]", "[100~200ms]", "[200~500ms]", "[500ms~1s]",
	"[1~2s]", "[2~3s]", "[3~4s]", "[4~5s]", "[5~10s]", "[10s~]",
}

func (b *Broker) storeInfo(st *store.Stats) map[string]string {
	info := map[string]string{
		"dispatchBehindBytes":             number(st.DispatchBehind),
		"pageCacheLockTimeMills":          number(st.PutLockMillis),
		"earliestMessageTimeStamp":        number(st.EarliestStoreTime),
		"commitLogMinOffset":              number(st.CommitLogMin),
		"commitLogMaxOffset":              number(st.CommitLogMax),
		"remainTransientStoreBufferNumbs": "0",
		"remainHowManyDataToFlush":        byteText(st.CommitLogMax - st.Flushed),
	}
	maps.Copy(info, b.diskInfo())
	return info
}

// diskInfo tells of the partitions of the store. Free is, as in Java, also what
// only the superuser may write.
func (b *Broker) diskInfo() map[string]string {
	use := b.store.DiskUse()
	info := map[string]string{
		"commitLogDiskRatio":    javaDouble(use.CommitLog),
		"consumeQueueDiskRatio": javaDouble(use.ConsumeQueue),
	}
	for path, used := range use.Paths {
		info["commitLogDiskRatio_"+path] = javaDouble(used)
	}
	if u, err := b.fs.Usage(b.config().StorePathRootDir); err == nil {
		info["commitLogDirCapacity"] = fmt.Sprintf("Total : %s, Free : %s.", byteText(u.Total), byteText(u.Total-u.Used))
	}
	return info
}

// javaDouble writes a number from -1 to 1 in hundredths as Java does.
func javaDouble(v float64) string {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func ratio(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// byteText writes a number of bytes for people, as Java's broker does.
func byteText(n int64) string {
	const unit = 1024
	if n < unit {
		return number(n) + " B"
	}
	v, exponent := float64(n)/unit, 0
	for ; v >= unit && exponent < 5; exponent++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[exponent])
}

func (b *Broker) poolInfo() map[string]string {
	cfg := b.config()
	info := map[string]string{
		// Sends are dealt with as they are read: none ever waits.
		"sendThreadPoolQueueSize":               "0",
		"sendThreadPoolQueueCapacity":           number(cfg.SendQueueCapacity),
		"sendThreadPoolQueueHeadWaitTimeMills":  "0",
		"ackThreadPoolQueueSize":                "0",
		"ackThreadPoolQueueCapacity":            "0",
		"ackThreadPoolQueueHeadWaitTimeMills":   "0",
		"EndTransactionQueueSize":               number(b.pools.transactions.Len()),
		"EndTransactionThreadPoolQueueCapacity": number(b.pools.transactions.Cap()),
	}
	for _, p := range []*remoting.Pool{b.pools.pull, b.pools.litePull, b.pools.query} {
		info[p.Name()+"ThreadPoolQueueSize"] = number(p.Len())
		info[p.Name()+"ThreadPoolQueueCapacity"] = number(p.Cap())
		info[p.Name()+"ThreadPoolQueueHeadWaitTimeMills"] = number(p.HeadWait().Milliseconds())
	}
	return info
}

// scheduleInfo tells of each delay level how far its delivery is and where its queue ends.
func (b *Broker) scheduleInfo() map[string]string {
	info := map[string]string{}
	for i := range b.schedule.levels {
		if next, end := b.schedule.offset(i); end > 0 {
			info[fmt.Sprintf("scheduleMessageOffset_%d", i+1)] = fmt.Sprintf("%d,%d", next, end)
		}
	}
	return info
}

func number[T int | int32 | int64](n T) string { return strconv.FormatInt(int64(n), 10) }
