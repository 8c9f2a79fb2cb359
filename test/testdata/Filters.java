import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Filters by SQL92 with the Java clients on the cluster of the name server args[0]; prints "ok" at the end. */
public class Filters {
    static final String TOPIC = "JavaFilters";
    static final String EXPRESSION = "n BETWEEN 5 AND 9 AND TAGS = 'odd'";
    static final Set<String> WANTED = new TreeSet<>(Arrays.asList("m5", "m7", "m9"));
    static String ns;

    public static void main(String[] args) {
        try {
            run(args[0]);
            System.out.println("ok");
            System.exit(0);
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    static void run(String nameServer) throws Exception {
        ns = nameServer;
        DefaultMQProducer producer = new DefaultMQProducer("filter-producer");
        producer.setNamesrvAddr(ns);
        producer.setSendMsgTimeout(20_000);
        producer.start();
        producer.createTopic("TBW102", TOPIC, 4, null);
        for (int i = 0; i < 20; i++) {
            Message m = new Message(TOPIC, i % 2 == 0 ? "even" : "odd", ("m" + i).getBytes(StandardCharsets.UTF_8));
            m.putUserProperty("n", String.valueOf(i));
            producer.send(m);
        }
        refused();
        push();
        pull();
        litePull();
        producer.shutdown();
    }

    static void refused() {
        DefaultMQPushConsumer c = pushConsumer("filter-refused", "n > 'x'");
        c.registerMessageListener((MessageListenerConcurrently) (ms, x) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        try {
            c.start();
            check(false, "a bad expression was accepted");
        } catch (MQClientException e) {
            check(e.getMessage().contains("cannot be compared"), e);
        }
        c.shutdown();
    }

    static DefaultMQPushConsumer pushConsumer(String group, String expression) {
        DefaultMQPushConsumer c = new DefaultMQPushConsumer(group);
        c.setNamesrvAddr(ns);
        c.setInstanceName(group);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.setHeartbeatBrokerInterval(2000); // see Clients.java
        try {
            c.subscribe(TOPIC, MessageSelector.bySql(expression));
        } catch (MQClientException e) {
            throw new AssertionError(e);
        }
        return c;
    }

    static void push() throws Exception {
        Set<String> got = new ConcurrentSkipListSet<>();
        DefaultMQPushConsumer c = pushConsumer("filter-push", EXPRESSION);
        c.registerMessageListener((MessageListenerConcurrently) (ms, x) -> {
            ms.forEach(m -> got.add(body(m)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        await("the filtered messages", () -> got.size() >= WANTED.size());
        check(got.equals(WANTED), "pushed", got);
        c.shutdown();
    }

    static void pull() throws Exception {
        DefaultMQPullConsumer c = new DefaultMQPullConsumer("filter-pull");
        c.setNamesrvAddr(ns);
        c.setInstanceName("filter-pull");
        c.setHeartbeatBrokerInterval(1000);
        c.start();
        Set<String> got = new TreeSet<>();
        MessageQueue first = c.fetchSubscribeMessageQueues(TOPIC).iterator().next();
        await("the broker's version, which comes with a heartbeat", () -> {
            try {
                c.pull(first, MessageSelector.bySql(EXPRESSION), 0, 32);
                return true;
            } catch (MQClientException e) {
                check(e.getMessage().contains("does not upgrade"), e);
                return false;
            }
        });
        for (MessageQueue q : c.fetchSubscribeMessageQueues(TOPIC)) {
            for (long at = 0, max = c.maxOffset(q); at < max; ) {
                org.apache.rocketmq.client.consumer.PullResult r = c.pull(q, MessageSelector.bySql(EXPRESSION), at, 32);
                if (r.getMsgFoundList() != null) {
                    r.getMsgFoundList().forEach(m -> got.add(body(m)));
                }
                at = r.getNextBeginOffset();
            }
        }
        check(got.equals(WANTED), "pulled", got);
        c.shutdown();
    }

    static void litePull() throws Exception {
        DefaultLitePullConsumer c = new DefaultLitePullConsumer("filter-lite");
        c.setNamesrvAddr(ns);
        c.setInstanceName("filter-lite");
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.subscribe(TOPIC, MessageSelector.bySql(EXPRESSION));
        c.start();
        Set<String> got = new TreeSet<>();
        await("the filtered messages of a lite pull", () -> {
            c.poll(500).forEach(m -> got.add(body(m)));
            return got.size() >= WANTED.size();
        });
        check(got.equals(WANTED), "polled", got);
        c.shutdown();
    }

    static String body(MessageExt m) {
        return new String(m.getBody(), StandardCharsets.UTF_8);
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
