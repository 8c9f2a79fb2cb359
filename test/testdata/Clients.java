import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Works with the Java clients on the cluster of the name server args[0]; prints "ok" at the end. */
public class Clients {
    static final String TOPIC = "JavaClients";
    static final Set<String> tagged = ConcurrentHashMap.newKeySet(); // bodies that were sent with TagA or TagB
    static String ns;
    static DefaultMQProducer producer;
    static DefaultMQAdminExt admin;

    public static void main(String[] args) throws Throwable {
        ns = args[0];
        admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(ns);
        admin.setInstanceName("admin");
        admin.start();
        producer = new DefaultMQProducer("java-producer");
        producer.setNamesrvAddr(ns);
        producer.setSendMsgTimeout(20_000);
        producer.start();
        topic(TOPIC, 4);
        send();
        transactions();
        refused();
        pushByTag();
        orderly();
        retriesToDlq();
        pull();
        litePull();
        queries();
        System.out.println("ok");
        System.exit(0);
    }

    static void topic(String name, int queues) throws Exception {
        admin.createTopic("DefaultCluster", name, queues, null);
        await("route of " + name, () -> {
            try {
                return !admin.examineTopicRouteInfo(name).getQueueDatas().isEmpty();
            } catch (MQClientException e) {
                return false;
            }
        });
    }

    static Message message(String topic, String tag, String key, String body) {
        if (tag.matches("Tag[AB]")) {
            tagged.add(body);
        }
        return new Message(topic, tag, key, body.getBytes(StandardCharsets.UTF_8));
    }

    static void send() throws Exception {
        SendResult r = producer.send(message(TOPIC, "TagA", "key", "sync"));
        check(r.getSendStatus() == SendStatus.SEND_OK && r.getOffsetMsgId() != null, r);
        CountDownLatch acked = new CountDownLatch(20);
        for (int i = 0; i < 20; i++) {
            producer.send(message(TOPIC, "TagB", "async" + i, "async" + i), new SendCallback() {
                public void onSuccess(SendResult sent) {
                    acked.countDown();
                }

                public void onException(Throwable e) {
                    e.printStackTrace();
                }
            });
        }
        check(acked.await(20, TimeUnit.SECONDS), "not all asynchronous sends were acknowledged");
        producer.sendOneway(message(TOPIC, "TagA", "", "oneway"));
        r = producer.send(message(TOPIC, "TagA", "", "selected"), (queues, m, arg) -> queues.get((int) arg), 3);
        check(r.getMessageQueue().getQueueId() == 3, r);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            batch.add(message(TOPIC, "TagA", "batch" + i, "batch" + i));
        }
        r = producer.send(batch);
        check(r.getOffsetMsgId().split(",").length == 5, r);
        char[] large = new char[50_000]; // beyond 4 KB bodies travel compressed
        Arrays.fill(large, 'z');
        producer.send(message(TOPIC, "TagB", "large", new String(large)));
        producer.send(message(TOPIC, "TagC", "", "nobody wants it"));
        Message delayed = message(TOPIC, "TagB", "", "delayed");
        delayed.setDelayTimeLevel(1);
        producer.send(delayed);
    }

    /** Of two transactions one is rolled back: only the other is ever seen. */
    static void transactions() throws Exception {
        topic("JavaTransactions", 1);
        TransactionMQProducer both = new TransactionMQProducer("java-transactions");
        both.setNamesrvAddr(ns);
        both.setTransactionListener(new TransactionListener() {
            public LocalTransactionState executeLocalTransaction(Message m, Object outcome) {
                return (LocalTransactionState) outcome;
            }

            public LocalTransactionState checkLocalTransaction(MessageExt m) {
                return LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        both.start();
        for (LocalTransactionState end : new LocalTransactionState[] {LocalTransactionState.ROLLBACK_MESSAGE, LocalTransactionState.COMMIT_MESSAGE}) {
            SendResult r = both.sendMessageInTransaction(message("JavaTransactions", "", "tx", end.name()), end);
            check(r.getSendStatus() == SendStatus.SEND_OK, r);
        }
        MessageQueue queue = both.fetchPublishMessageQueues("JavaTransactions").get(0);
        await("the committed message", () -> {
            try {
                return admin.maxOffset(queue) == 1 && !admin.queryMessage("JavaTransactions", "tx", 10, 0, Long.MAX_VALUE).getMessageList().isEmpty();
            } catch (Exception e) {
                return false;
            }
        });
        List<MessageExt> seen = admin.queryMessage("JavaTransactions", "tx", 10, 0, Long.MAX_VALUE).getMessageList();
        check(seen.size() == 1 && new String(seen.get(0).getBody(), StandardCharsets.UTF_8).equals("COMMIT_MESSAGE"), seen);
        both.shutdown();
    }

    /** What the broker does not do has to be said, not ignored. */
    static void refused() throws Exception {
        MessageQueue queue = producer.fetchPublishMessageQueues(TOPIC).get(0);
        producer.setMaxMessageSize(8 << 20);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        code("too large", 13, () -> producer.send(new Message(TOPIC, new byte[(4 << 20) + 1]), queue));
        producer.setCompressMsgBodyOverHowmuch(4096);
        DefaultMQPushConsumer sql = consumer("java-sql");
        sql.subscribe(TOPIC, MessageSelector.bySql("a > 1"));
        sql.registerMessageListener((MessageListenerConcurrently) (ms, x) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        try {
            sql.start();
            check(false, "SQL92 was accepted");
        } catch (MQClientException e) {
            check(e.getMessage().contains("does not support"), e);
        }
        sql.shutdown();
    }

    static DefaultMQPushConsumer consumer(String group) {
        DefaultMQPushConsumer c = new DefaultMQPushConsumer(group);
        c.setNamesrvAddr(ns);
        c.setInstanceName(group);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // The client may skip the heartbeat with its latest subscription when two
        // are due at once; until the next it is refused, on the Java broker too.
        c.setHeartbeatBrokerInterval(2000);
        return c;
    }

    static void pushByTag() throws Exception {
        Set<String> got = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer c = consumer("java-push");
        c.subscribe(TOPIC, "TagA || TagB");
        c.registerMessageListener((MessageListenerConcurrently) (ms, x) -> {
            ms.forEach(m -> got.add(body(m)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        await("the tagged messages", () -> got.size() >= tagged.size());
        check(got.equals(tagged), got);
        c.shutdown();
    }

    static void orderly() throws Exception {
        topic("JavaOrdered", 2);
        List<List<Integer>> got = Arrays.asList(Collections.synchronizedList(new ArrayList<>()), Collections.synchronizedList(new ArrayList<>()));
        for (int i = 0; i < 20; i++) {
            producer.send(message("JavaOrdered", "", "", "" + i), (queues, m, n) -> queues.get((int) n % 2), i);
        }
        DefaultMQPushConsumer c = consumer("java-orderly");
        c.subscribe("JavaOrdered", "*");
        c.registerMessageListener((MessageListenerOrderly) (ms, x) -> {
            ms.forEach(m -> got.get(m.getQueueId()).add(Integer.parseInt(body(m))));
            return ConsumeOrderlyStatus.SUCCESS;
        });
        c.start();
        await("20 ordered messages", () -> got.get(0).size() + got.get(1).size() >= 20);
        for (List<Integer> queue : got) {
            List<Integer> sorted = new ArrayList<>(queue);
            Collections.sort(sorted);
            check(queue.size() == 10 && queue.equals(sorted), got);
        }
        c.shutdown();
    }

    static void retriesToDlq() throws Exception {
        topic("JavaRetried", 1);
        List<String> got = Collections.synchronizedList(new ArrayList<>());
        producer.send(message("JavaRetried", "", "", "fails"));
        DefaultMQPushConsumer c = consumer("java-retry");
        c.setMaxReconsumeTimes(1);
        c.subscribe("JavaRetried", "*");
        c.registerMessageListener((MessageListenerConcurrently) (ms, x) -> {
            x.setDelayLevelWhenNextConsume(1);
            ms.forEach(m -> got.add(m.getTopic() + " " + m.getReconsumeTimes()));
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        c.start();
        await("the dead letter", () -> {
            try {
                return admin.examineTopicStats("%DLQ%java-retry").getOffsetTable().values().stream().anyMatch(o -> o.getMaxOffset() == 1);
            } catch (MQClientException | MQBrokerException e) {
                return false;
            }
        });
        check(got.equals(Arrays.asList("JavaRetried 0", "JavaRetried 1")), got);
        c.shutdown();
    }

    static void pull() throws Exception {
        DefaultMQPullConsumer c = new DefaultMQPullConsumer("java-pull");
        c.setNamesrvAddr(ns);
        c.setInstanceName("java-pull");
        c.start();
        int found = 0;
        for (MessageQueue q : c.fetchSubscribeMessageQueues(TOPIC)) {
            long max = c.maxOffset(q);
            PullResult r = c.pull(q, "*", 0, 32);
            found += r.getMsgFoundList().size();
            check(r.getPullStatus() == PullStatus.FOUND && r.getMaxOffset() == max, r);
            check(c.pull(q, "*", max, 32).getPullStatus() == PullStatus.NO_NEW_MSG, q);
            r = c.pull(q, "*", max + 9, 32);
            check(r.getPullStatus() == PullStatus.OFFSET_ILLEGAL && r.getNextBeginOffset() == max, r);
            check(c.pull(q, "Nothing", 0, 32).getPullStatus() == PullStatus.NO_MATCHED_MSG, q);
            check(c.searchOffset(q, 0) == 0, q);
        }
        check(found == tagged.size() + 1, "pulled", found); // and the one with TagC
        c.shutdown();
    }

    static void litePull() throws Exception {
        DefaultLitePullConsumer c = new DefaultLitePullConsumer("java-lite");
        c.setNamesrvAddr(ns);
        c.setInstanceName("java-lite");
        c.start();
        c.assign(c.fetchMessageQueues(TOPIC));
        for (MessageQueue q : c.fetchMessageQueues(TOPIC)) {
            check(c.offsetForTimestamp(q, 0L) == 0, q);
            c.seekToBegin(q);
        }
        List<String> got = new ArrayList<>();
        await("messages of the assigned queues", () -> {
            c.poll(500).forEach(m -> got.add(body(m)));
            return got.containsAll(tagged.stream().filter(b -> b.matches("sync|async.*|batch.*|delayed")).collect(java.util.stream.Collectors.toList()));
        });
        c.shutdown();
    }

    static void queries() throws Exception {
        SendResult r = producer.send(message(TOPIC, "", "query-key", "look me up"));
        await("the message by its key", () -> {
            try {
                return producer.queryMessage(TOPIC, "query-key", 9, 0, Long.MAX_VALUE).getMessageList().size() == 1;
            } catch (MQClientException e) {
                return false;
            }
        });
        check(body(producer.viewMessage(TOPIC, r.getMsgId())).equals("look me up"), r);
        check(body(producer.viewMessage(TOPIC, r.getOffsetMsgId())).equals("look me up"), r);
        String broker = admin.examineTopicRouteInfo(TOPIC).getBrokerDatas().get(0).selectBrokerAddr();
        check(admin.fetchBrokerRuntimeStats(broker).getTable().containsKey("putMessageTimesTotal"), broker);
        check(admin.getAllTopicConfig(broker, 20_000).getTopicConfigTable().containsKey(TOPIC), broker);
        check(admin.getAllSubscriptionGroup(broker, 20_000).getSubscriptionGroupTable().containsKey("java-push"), broker);
        check(admin.examineConsumeStats("java-push", TOPIC).getOffsetTable().size() == 4, "consume stats");
        check(admin.queryTopicConsumeByWho(TOPIC).getGroupList().contains("java-push"), "who consumes");
    }

    static String body(MessageExt m) {
        return new String(m.getBody(), StandardCharsets.UTF_8);
    }

    interface Call {
        void run() throws Exception;
    }

    static void code(String what, int want, Call call) throws Exception {
        try {
            call.run();
            check(false, what, "was accepted");
        } catch (MQBrokerException e) {
            check(e.getResponseCode() == want, what, e);
        }
    }

    static void await(String what, Callable<Boolean> ready) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(40);
        while (!ready.call()) {
            check(System.nanoTime() < deadline, "waited in vain for", what);
            Thread.sleep(20);
        }
    }

    static void check(boolean holds, Object... what) {
        if (!holds) {
            throw new AssertionError(Arrays.toString(what));
        }
    }
}
