import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.subscription.ExponentialRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicyType;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** Talks to a cluster so that the capture has something to record: client or admin, NameServer, broker. */
public class Driver {
    static final String TOPIC = "capture-java";
    static String namesrv;
    static String broker;
    static String lastKey;

    public static void main(String[] args) throws Exception {
        namesrv = args[1];
        broker = args[2];
        if (args[0].equals("client")) {
            attempt("create", () -> admin("updateTopic", "-b", broker, "-t", TOPIC, "-r", "2", "-w", "2"));
            attempt("produce", Driver::produce);
            attempt("transaction", Driver::transaction);
            attempt("consume", Driver::consume);
            attempt("orderly", Driver::consumeOrderly);
            attempt("lite pull", Driver::litePull);
            attempt("request and reply", Driver::requestReply);
            attempt("pop", Driver::pop);
        } else {
            attempt("commands", Driver::commands);
        }
        System.out.println("done " + args[0]);
        System.exit(0);
    }

    /** Prints a failure and goes on: the list of captured codes shows what is missing. */
    static void attempt(String name, Callable<?> step) {
        System.out.println("step " + name);
        try {
            step.call();
        } catch (Throwable t) {
            System.out.println("step " + name + " failed: " + t);
            t.printStackTrace(System.out);
        }
    }

    static Object admin(String... args) {
        String[] all = new String[args.length + 2];
        System.arraycopy(args, 0, all, 0, args.length);
        all[args.length] = "-n";
        all[args.length + 1] = namesrv;
        System.out.println("mqadmin " + String.join(" ", all));
        MQAdminStartup.main0(all, null);
        return null;
    }

    static DefaultMQProducer producer(String group) throws Exception {
        DefaultMQProducer p = new DefaultMQProducer(group);
        p.setNamesrvAddr(namesrv);
        p.start();
        return p;
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    static Object produce() throws Exception {
        DefaultMQProducer p = producer("capture-producer");
        SendResult first = p.send(new Message(TOPIC, "TagA", "key1 key2", bytes("hello")), 10000);
        lastKey = first.getMsgId();
        Message odd = new Message(TOPIC, "标签", "schlüssel", bytes("Grüße 😀"));
        odd.putUserProperty("user", "quote \" and \\ and <");
        p.send(odd);
        p.send(new Message(TOPIC, "TagB", bytes("compress me ".repeat(600))));
        Message later = new Message(TOPIC, bytes("later"));
        later.setDelayTimeLevel(1);
        p.send(later);
        Message timed = new Message(TOPIC, bytes("timed"));
        timed.setDelayTimeMs(2000);
        p.send(timed);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            batch.add(new Message(TOPIC, "TagC", "batch" + i, bytes("batch " + i)));
        }
        p.send(batch);
        p.sendOneway(new Message(TOPIC, bytes("one way")));
        Thread.sleep(1500);
        p.viewMessage(TOPIC, first.getOffsetMsgId());
        p.queryMessage(TOPIC, "key1", 10, 0, System.currentTimeMillis());
        for (MessageQueue q : p.fetchPublishMessageQueues(TOPIC)) {
            p.maxOffset(q);
            p.minOffset(q);
            p.searchOffset(q, 0);
            p.earliestMsgStoreTime(q);
        }
        attempt("no such topic", () -> p.send(new Message("no/such/topic", bytes("x"))));
        p.shutdown();
        return null;
    }

    static Object transaction() throws Exception {
        TransactionMQProducer p = new TransactionMQProducer("capture-transaction");
        p.setNamesrvAddr(namesrv);
        p.setTransactionListener(new TransactionListener() {
            public LocalTransactionState executeLocalTransaction(Message msg, Object arg) {
                return (LocalTransactionState) arg;
            }

            public LocalTransactionState checkLocalTransaction(MessageExt msg) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        p.start();
        p.sendMessageInTransaction(new Message(TOPIC, bytes("half")), LocalTransactionState.COMMIT_MESSAGE);
        p.sendMessageInTransaction(new Message(TOPIC, bytes("half")), LocalTransactionState.ROLLBACK_MESSAGE);
        Thread.sleep(500);
        p.shutdown();
        return null;
    }

    static DefaultMQPushConsumer consumer(String group) throws Exception {
        DefaultMQPushConsumer c = new DefaultMQPushConsumer(group);
        c.setNamesrvAddr(namesrv);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return c;
    }

    static Object consume() throws Exception {
        DefaultMQPushConsumer c = consumer("capture-group");
        c.subscribe(TOPIC, "TagA || TagB || 标签");
        CountDownLatch taken = new CountDownLatch(3);
        AtomicInteger calls = new AtomicInteger();
        c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            taken.countDown();
            return calls.getAndIncrement() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        taken.await(20, TimeUnit.SECONDS);
        Thread.sleep(2000);
        c.shutdown();
        return null;
    }

    static Object consumeOrderly() throws Exception {
        DefaultMQPushConsumer c = consumer("capture-orderly");
        c.subscribe(TOPIC, MessageSelector.bySql("user is not null or TAGS = 'TagA'"));
        CountDownLatch taken = new CountDownLatch(1);
        c.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            taken.countDown();
            return ConsumeOrderlyStatus.SUCCESS;
        });
        c.start();
        taken.await(20, TimeUnit.SECONDS);
        c.shutdown();
        return null;
    }

    static Object litePull() throws Exception {
        DefaultLitePullConsumer c = new DefaultLitePullConsumer("capture-lite");
        c.setNamesrvAddr(namesrv);
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.subscribe(TOPIC, "*");
        c.start();
        for (int i = 0; i < 20 && c.poll(1000).isEmpty(); i++) {
            System.out.println("nothing yet");
        }
        c.commit();
        c.shutdown();
        return null;
    }

    static Object requestReply() throws Exception {
        DefaultMQProducer replier = producer("capture-replier");
        DefaultMQPushConsumer c = consumer("capture-replier-group");
        c.subscribe("capture-rpc", "*");
        c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt m : messages) {
                attempt("reply", () -> replier.send(MessageUtil.createReplyMessage(m, bytes("answer")), 3000));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        DefaultMQProducer p = producer("capture-requester");
        admin("updateTopic", "-b", broker, "-t", "capture-rpc", "-r", "1", "-w", "1");
        Thread.sleep(2000);
        c.start();
        Thread.sleep(2000);
        attempt("request", () -> p.request(new Message("capture-rpc", bytes("question")), 8000));
        c.shutdown();
        p.shutdown();
        replier.shutdown();
        return null;
    }

    static Object pop() throws Exception {
        DefaultMQAdminExt a = new DefaultMQAdminExt();
        a.setNamesrvAddr(namesrv);
        a.start();
        a.setMessageRequestMode(broker, TOPIC, "capture-pop", MessageRequestMode.POP, 8, 5000);
        a.shutdown();
        DefaultMQPushConsumer c = consumer("capture-pop");
        c.setClientRebalance(false);
        c.subscribe(TOPIC, "*");
        CountDownLatch taken = new CountDownLatch(1);
        c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            taken.countDown();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        taken.await(10, TimeUnit.SECONDS);
        Thread.sleep(1000);
        c.shutdown();
        return null;
    }

    /** Runs mqadmin while a producer and a consumer are online. */
    static Object commands() throws Exception {
        DefaultMQProducer p = producer("capture-online-producer");
        SendResult sent = p.send(new Message(TOPIC, "TagA", "key1", bytes("for the admin")), 10000);
        DefaultMQPushConsumer c = consumer("capture-group");
        c.subscribe(TOPIC, "*");
        c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        c.start();
        Thread.sleep(3000);
        String client = c.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        String[][] all = {
            {"clusterList"}, {"brokerStatus", "-b", broker}, {"topicList"}, {"topicList", "-c"}, {"topicClusterList", "-t", TOPIC},
            {"topicRoute", "-t", TOPIC}, {"topicStatus", "-t", TOPIC}, {"updateTopic", "-c", "DefaultCluster", "-t", "capture-admin", "-r", "4", "-w", "4"},
            {"updateTopic", "-b", broker, "-t", "capture-attributes", "-a", "+message.type=FIFO"},
            {"updateTopic", "-b", broker, "-t", "capture-batch", "-a", "+queue.type=BatchCQ"},
            {"updateTopicPerm", "-b", broker, "-t", "capture-admin", "-p", "4"}, {"updateSubGroup", "-b", broker, "-g", "capture-admin-group"},
            {"consumerProgress"}, {"consumerProgress", "-g", "capture-group"}, {"consumerConnection", "-g", "capture-group"},
            {"producerConnection", "-g", "capture-online-producer", "-t", TOPIC}, {"producer", "-b", broker},
            {"consumerStatus", "-g", "capture-group"}, {"consumerStatus", "-g", "capture-group", "-i", client},
            {"getConsumerConfig", "-g", "capture-group"}, {"getBrokerConfig", "-b", broker}, {"updateBrokerConfig", "-b", broker, "-k", "traceOn", "-v", "true"},
            {"getNamesrvConfig"}, {"updateNamesrvConfig", "-k", "orderMessageEnable", "-v", "true"},
            {"queryMsgById", "-i", sent.getOffsetMsgId(), "-t", TOPIC}, {"queryMsgByKey", "-t", TOPIC, "-k", "key1"},
            {"queryMsgByUniqueKey", "-t", TOPIC, "-i", sent.getMsgId()},
            {"queryMsgByUniqueKey", "-t", TOPIC, "-i", sent.getMsgId(), "-g", "capture-group", "-d", client},
            {"queryMsgByOffset", "-t", TOPIC, "-b", "broker-a", "-i", "0", "-o", "0"}, {"queryCq", "-t", TOPIC, "-q", "0", "-i", "0", "-c", "3", "-b", broker},
            {"queryCq", "-t", TOPIC, "-q", "0", "-i", "0", "-c", "3", "-b", broker, "-g", "capture-group"},
            {"sendMessage", "-t", TOPIC, "-p", "by mqadmin", "-c", "TagA"}, {"consumeMessage", "-t", TOPIC, "-b", "broker-a", "-i", "0", "-o", "0", "-c", "2"},
            {"statsAll", "-t", TOPIC}, {"brokerConsumeStats", "-b", broker}, {"cloneGroupOffset", "-s", "capture-group", "-d", "capture-admin-group", "-t", TOPIC},
            {"resetOffsetByTime", "-g", "capture-group", "-t", TOPIC, "-s", "0"}, {"skipAccumulatedMessage", "-g", "capture-group", "-t", TOPIC},
            {"updateKvConfig", "-s", "capture", "-k", "k", "-v", "v ü"}, {"deleteKvConfig", "-s", "capture", "-k", "k"},
            {"updateOrderConf", "-m", "put", "-t", TOPIC, "-v", "broker-a:2"}, {"updateOrderConf", "-m", "get", "-t", TOPIC}, {"topicRoute", "-t", TOPIC},
            {"wipeWritePerm", "-b", "broker-a"}, {"addWritePerm", "-b", "broker-a"}, {"haStatus", "-b", broker}, {"setConsumeMode", "-b", broker, "-t", TOPIC, "-g", "capture-admin-group", "-m", "PULL", "-q", "0"},
            {"cleanExpiredCQ", "-b", broker}, {"cleanUnusedTopic", "-b", broker}, {"deleteExpiredCommitLog", "-b", broker}, {"getColdDataFlowCtrInfo", "-b", broker},
            {"listUser", "-b", broker}, {"listAcl", "-b", broker}, {"createUser", "-b", broker, "-u", "capture", "-p", "secret"}, {"getUser", "-b", broker, "-u", "capture"},
            {"listUser", "-b", broker}, {"createAcl", "-b", broker, "-s", "User:capture", "-r", "Topic:*", "-a", "Pub,Sub", "-i", "127.0.0.1", "-d", "Allow"},
            {"getAcl", "-b", broker, "-s", "User:capture"}, {"listAcl", "-b", broker}, {"deleteUser", "-b", broker, "-u", "capture"},
            {"updateStaticTopic", "-b", "broker-a", "-t", "capture-static", "-qn", "2"}, {"topicRoute", "-t", "capture-static"}, {"topicStatus", "-t", "capture-static"},
            {"checkMsgSendRT", "-t", TOPIC, "-a", "2", "-s", "10"}, {"deleteSubGroup", "-b", broker, "-g", "capture-admin-group"}, {"deleteTopic", "-c", "DefaultCluster", "-t", "capture-admin"},
        };
        for (String[] command : all) {
            attempt(command[0], () -> admin(command));
        }
        attempt("administrator", () -> administrator(client, sent.getOffsetMsgId()));
        c.shutdown();
        p.shutdown();
        return null;
    }

    /** Asks what no command asks. */
    static Object administrator(String client, String offsetMsgId) throws Exception {
        DefaultMQAdminExt a = new DefaultMQAdminExt();
        a.setNamesrvAddr(namesrv);
        a.start();
        attempt("consume directly", () -> a.consumeMessageDirectly("capture-group", client, TOPIC, offsetMsgId));
        attempt("topic list", () -> {
            a.createAndUpdateTopicConfigList(broker, Arrays.asList(new TopicConfig("capture-list", 1, 2, 6, 0)));
            return null;
        });
        attempt("group list", () -> {
            SubscriptionGroupConfig group = new SubscriptionGroupConfig();
            group.setGroupName("capture-list-group");
            GroupRetryPolicy policy = new GroupRetryPolicy();
            policy.setType(GroupRetryPolicyType.EXPONENTIAL);
            policy.setExponentialRetryPolicy(new ExponentialRetryPolicy(1000, 60000, 3));
            group.setGroupRetryPolicy(policy);
            a.createAndUpdateSubscriptionGroupConfigList(broker, Arrays.asList(group));
            return null;
        });
        attempt("namespace", () -> a.getKVListByNamespace("ORDER_TOPIC_CONFIG"));
        attempt("time span", () -> a.queryConsumeTimeSpan(TOPIC, "capture-group"));
        attempt("who consumes", () -> a.queryTopicConsumeByWho(TOPIC));
        attempt("topics of a group", () -> a.queryTopicsByConsumer("capture-group"));
        attempt("subscription", () -> a.querySubscription("capture-group", TOPIC));
        attempt("all topics", () -> a.getAllTopicConfig(broker, 5000));
        attempt("all groups", () -> a.getAllSubscriptionGroup(broker, 5000));
        attempt("one group", () -> a.examineSubscriptionGroupConfig(broker, "capture-group"));
        attempt("one topic", () -> a.examineTopicConfig(broker, TOPIC));
        attempt("topics of a cluster", () -> a.fetchTopicsByCLuster("DefaultCluster"));
        attempt("consumer status", () -> a.getConsumeStatus(TOPIC, "capture-group", ""));
        attempt("properties", () -> {
            Properties properties = a.getBrokerConfig(broker);
            return properties;
        });
        attempt("unit topics", () -> a.getKVConfig("ORDER_TOPIC_CONFIG", TOPIC));
        a.shutdown();
        return null;
    }
}
