import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Replies on the topic JavaReplies, asks there and on GoReplies, on the cluster
 * of the name server args[0]. It prints "ready" when it has all its answers,
 * goes on replying until its input ends, and prints "ok".
 */
public class Replies {
    static String ns;
    static final List<Throwable> failed = Collections.synchronizedList(new java.util.ArrayList<>());

    public static void main(String[] args) {
        try {
            ns = args[0];
            run();
            System.exit(0);
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    static void run() throws Exception {
        DefaultMQProducer replier = producer("java-replier");
        DefaultMQPushConsumer c = new DefaultMQPushConsumer("java-repliers");
        c.setNamesrvAddr(ns);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.subscribe("JavaReplies", "*");
        c.registerMessageListener((MessageListenerConcurrently) (messages, x) -> {
            for (MessageExt m : messages) {
                try {
                    byte[] body = ("re: " + text(m)).getBytes(StandardCharsets.UTF_8);
                    SendResult r = replier.send(MessageUtil.createReplyMessage(m, body), 10_000);
                    check(r.getSendStatus() == SendStatus.SEND_OK && r.getMessageQueue().getTopic().equals("DefaultCluster_REPLY_TOPIC"), r);
                } catch (Throwable e) {
                    failed.add(e);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        DefaultMQProducer asks = producer("java-asks");
        String large = "x".repeat(20_000); // beyond 4 KB bodies travel compressed, which the client in Go does not undo
        for (String[] q : new String[][] {{"JavaReplies", "short"}, {"JavaReplies", large}, {"GoReplies", "short"}, {"GoReplies", "again"}}) {
            check(text(request(asks, message(q[0], q[1]))).equals("re: " + q[1]), q[0]);
        }
        System.out.println("ready");
        while (System.in.read() >= 0) {
            continue;
        }
        check(failed.isEmpty(), failed);
        System.out.println("ok");
    }

    /**
     * Asks with a callback. This client calls it with null as soon as the broker
     * has the message; its request that waits gives up then.
     */
    static Message request(DefaultMQProducer asks, Message m) throws Exception {
        CompletableFuture<Message> reply = new CompletableFuture<>();
        asks.request(m, new RequestCallback() {
            public void onSuccess(Message r) {
                if (r != null) {
                    reply.complete(r);
                }
            }

            public void onException(Throwable e) {
                reply.completeExceptionally(e);
            }
        }, 30_000);
        return reply.get(40, TimeUnit.SECONDS);
    }

    static DefaultMQProducer producer(String name) throws Exception {
        DefaultMQProducer p = new DefaultMQProducer(name);
        p.setNamesrvAddr(ns);
        p.setInstanceName(name);
        p.start();
        return p;
    }

    static Message message(String topic, String body) {
        return new Message(topic, body.getBytes(StandardCharsets.UTF_8));
    }

    static String text(Message m) {
        return new String(m.getBody(), StandardCharsets.UTF_8);
    }

    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
