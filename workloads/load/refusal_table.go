package load

// explanation is one way in which a broker refuses. Its remark has words in it;
// without words it stands for all remarks of the code that no other row is about.
// Settings have Java's names and the defaults of 5.3; times are milliseconds.
type explanation struct {
	code    int32
	words   string
	kind    string
	meaning string
	setting string
	help    string
}

// How a broker is relieved when sends wait in it.
const (
	relieve     = "offer less, spread the topic over more brokers, or give this one a faster disk and more memory for its page cache"
	moreThreads = "offer less, spread the topic over more brokers, or raise sendMessageThreadPoolNums (4)"
)

// explanations are ordered: the first row whose words are in the remark counts.
// The remarks are those of Java's 5.3 brokers (SendMessageProcessor,
// BrokerFastFailure, NettyRemotingAbstract, EndTransactionProcessor,
// ReplyMessageProcessor, the authorization pipeline) and of our own.
var explanations = []explanation{
	// 1 SYSTEM_ERROR
	{1, "in-sync replicas not enough", "in-sync replicas", "fewer replicas follow the master than a write needs, so nothing was written",
		"minInSyncReplicas (1), inSyncReplicas (1)", "bring the slaves back, or ask for fewer of them"},
	{1, "create mapped file failed", "file not created", "the broker could not make the next file of its log: no space, no permission, or a disk that stands still",
		"mappedFileSizeCommitLog (1 GiB)", "look at free space and I/O errors of the disk under storePathCommitLog"},
	{1, "Create mapped file failed", "file not created", "", "", ""},
	{1, "OS page cache busy", "page cache busy", "a commit was not stored because an append to the log was taking too long",
		"osPageCacheBusyTimeOutMills (1000)", relieve},
	{1, "timer message is under flow control", "timer flow control", "too many timer messages are due in the same slot of the timer wheel",
		"timerCongestNumEachSlot (2147483647)", "spread the delivery times"},
	{1, "accurate timer message is not enabled", "timer disabled", "the broker delivers timer messages only with its timer wheel, which is switched off",
		"timerWheelEnable (true)", "switch it on, or use delay levels"},
	{1, "broker unable to service, until", "not open yet", "the broker was told to take sends only from a later time on",
		"startAcceptSendRequestTimeStamp (0)", "set it back to 0"},
	{1, "has no queue to write to", "no queue", "the topic has no queue for writing on this broker",
		"", "give the topic write queues: mqadmin updateTopic -w"},
	{1, "message body size exceeded", "batch too large", "the messages of a batch are larger together than one message may be",
		"maxMessageSize (4194304)", "make batches smaller; 1 MiB at most is advised"},
	{1, "message size exceeded", "batch too large", "", "", ""},
	{1, "the message has no body", "no body", "the message has no body", "", "give it one of a byte at least"},
	{1, "the property DELAY is no number", "bad delay", "the property DELAY has to be a level, 1 to 18",
		"messageDelayLevel (1s 5s … 2h)", "correct the producer"},
	{1, "Find prepared transaction message failed", "no half message", "a transaction was ended whose half message the broker does not find",
		"transactionTimeOut (6000)", "end transactions sooner, and at the broker that took the half message"},
	{1, "The producer group wrong", "wrong transaction", "a transaction was ended by a producer group that did not begin it", "", "correct the producer"},
	{1, "The transaction state table offset wrong", "wrong transaction", "", "", ""},
	{1, "The commit log offset wrong", "wrong transaction", "", "", ""},
	{1, "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]", "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]", "there are too many light queues on the broker",
		"maxLmqConsumeQueueNum (20000)", "use fewer light queues, or raise the setting"},
	{1, "push reply message", "reply not passed on", "a reply could not be given to the producer that asked: it is gone, or at another broker",
		"", "keep the asking producer connected to every broker until its timeout is over"},
	{1, "reply message properties", "reply not passed on", "", "", ""},
	{1, "handler of code", "defect", "the broker has a defect and is still there", "", "report it with the broker's log"},
	{1, "UNKNOWN_ERROR", "unknown error", "the broker's store failed in a way that it has no name for", "", "look into broker.log and store.log at that time"},
	{1, "", "", "the broker failed to do what it was asked", "", "look into broker.log at that time; the remark is often that of an exception"},

	// 2 SYSTEM_BUSY
	{2, "[TIMEOUT_CLEAN_QUEUE]", "[TIMEOUT_CLEAN_QUEUE]", "sends waited in the broker's queue for longer than it lets them, and were thrown out of it",
		"waitTimeMillsInSendQueue (200)", moreThreads},
	{2, "[PCBUSY_CLEAN_QUEUE]", "[PCBUSY_CLEAN_QUEUE]", "an append to the log was taking too long, and all sends that waited behind it were thrown out of the queue",
		"osPageCacheBusyTimeOutMills (1000)", relieve},
	{2, "[PC_SYNCHRONIZED]", "[PC_SYNCHRONIZED]", "an append to the log was taking too long when this send's turn came",
		"osPageCacheBusyTimeOutMills (1000)", relieve},
	{2, "[REJECTREQUEST]", "[REJECTREQUEST]", "the broker takes no sends at all for the moment: an append takes too long, its memory pool for writes is used up, or it is a slave",
		"osPageCacheBusyTimeOutMills (1000), transientStorePoolSize (5)", relieve},
	{2, "[OVERLOAD]", "[OVERLOAD]", "the queue of the broker's send threads was full",
		"sendThreadPoolQueueCapacity (10000)", moreThreads},
	{2, "RejectedExecutionException", "[OVERLOAD]", "", "", ""},
	{2, "", "", "the broker is busy and refuses sends to protect itself", "", relieve},

	{3, "", "", "the broker does not know this kind of request", "", "use a broker that offers what the workload asks for"},
	{4, "", "", "a message of a transaction was not stored", "", "look into broker.log at that time"},

	// 10, 11, 12: stored, and not as asked
	{10, "", "", "the message is in the broker's memory, and was not on its disk in time",
		"syncFlushTimeout (5000), flushDiskType", "look for a disk that stands still; ASYNC_FLUSH does not wait for it"},
	{11, "", "", "the message is stored, and there was no slave near enough to copy it to",
		"brokerRole (SYNC_MASTER asks for a slave), haMaxGapNotInSync (268435456 bytes)", "bring the slave back, or let it catch up"},
	{12, "", "", "the message is stored, and the slave had not confirmed it in time",
		"slaveTimeout (3000)", "look at the slave's disk and at the network between them"},

	// 13 MESSAGE_ILLEGAL
	{13, "timer message illegal", "timer delay", "the delivery time of a timer message is too far away",
		"timerMaxDelaySec (259200)", "deliver sooner, or raise the setting"},
	{13, "message is illegal, maybe msg body", "too large", "the body of the message is too large, or its properties are longer than 32 KiB",
		"maxMessageSize (4194304)", "make messages smaller, or raise the setting and that of the clients"},
	{13, "batch request does not support retry group", "batch to retry topic", "a batch cannot go to the retry topic of a group", "", "send its messages one by one"},
	{13, "Required message key is missing", "no key", "messages of a compacted topic need a key", "cleanup.policy of the topic", "give every message a key"},
	{13, "message topic length too long", "topic name", "the name of the topic is longer than 127 bytes", "", "use a shorter name"},
	{13, "msg body must be less 64KB", "database message", "the message is for a database and larger than 64 KiB", "", "make it smaller"},
	{13, "", "", "the message is not one that a broker may store: too large, properties too long, or of the wrong kind",
		"maxMessageSize (4194304)", "make messages smaller, and look into broker.log"},

	// 14 SERVICE_NOT_AVAILABLE
	{14, "the broker's disk is full", "disk full, slave or shut down", "the broker cannot store: its disk is full (the remark has the share in use of commit log, consume queue and index), it is a slave, or it is shutting down",
		"-Drocketmq.broker.diskSpaceWarningLevelRatio (0.90), fileReservedTime (72 hours)", "free space on the disk, keep messages for a shorter time, or send to the master"},
	{14, "Service not available now", "disk full, slave or shut down", "", "", ""},
	{14, "", "", "the broker cannot store for the moment: its disk is full, it is a slave, or it is shutting down",
		"-Drocketmq.broker.diskSpaceWarningLevelRatio (0.90), fileReservedTime (72 hours)", "free space on the disk, or send to the master"},

	// 16 NO_PERMISSION
	{16, "sending transaction message is forbidden", "no transactions", "this broker takes no messages of transactions",
		"rejectTransactionMessage (false)", "set it to false, or send without a transaction"},
	{16, "] sending message is forbidden", "write protected", "the broker, or the topic on it, may not be written",
		"brokerPermission (6), perm of the topic", "give the permission back: mqadmin updateTopicPerm -p 6"},
	{16, "Sending message to topic[", "system topic", "the topic is one of the broker's own, which clients may not write", "", "send to another topic"},
	{16, "", "", "the client may not do this: access control, or a permission of broker or topic",
		"authorizationEnabled (false)", "check user and access control list, and mqadmin topicRoute for the permission"},

	{17, "", "", "the broker does not have the topic, and did not make it", "autoCreateTopicEnable (true)", "create the topic on every broker: mqadmin updateTopic -c"},
	{26, "", "", "the broker does not have the consumer group, and did not make it", "autoCreateSubscriptionGroup (true)", "create the group: mqadmin updateSubGroup -c"},
	{29, "request queueId[", "no such queue", "the queue is not one of the topic's on this broker: the client's route is old, or the topic was made smaller",
		"", "wait for the client to ask for the route again (30 s), or give the topic its queues back"},
	{29, "", "", "the request has a parameter that is not allowed, often the name of the topic", "", "use letters, digits, - and _, 127 at most"},

	{205, "", "", "the message belongs to another unit of the installation", "", "send it to its own unit"},
	{215, "", "", "the broker limits this client's rate", "", "offer less, or raise the limit that the operator set"},
	{501, "", "", "the queue of a static topic lives on another broker now", "", "wait for the client to ask for the route again"},
	{604, "", "", "what was asked is not allowed for a message or topic of this kind", "", "look into broker.log at that time"},
	{1500, "", "", "the node is shutting down and sends its clients away", "", "let clients go to another node; this is what a rolling restart looks like"},
}
