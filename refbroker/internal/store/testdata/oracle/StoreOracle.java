import java.io.File;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.GetMessageResult;
import org.apache.rocketmq.store.GetMessageStatus;
import org.apache.rocketmq.store.PutMessageResult;
import org.apache.rocketmq.store.PutMessageStatus;
import org.apache.rocketmq.store.QueryMessageResult;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

/**
 * Java's own message store, driven by a test of ours.
 *
 * java -cp 'lib/*' StoreOracle.java COMMAND...
 *
 * read=DIR       prints every message of a store, what is found by each key, and the end of the log
 * write=DIR,N    appends N messages to a store and stops in order
 * crash=DIR,N    appends N messages and dies; comes last
 * crc=on         from here on records end with a checksum, and recovery goes by it
 *
 * The file sizes are those of smallConfig in the Go tests.
 */
public class StoreOracle {
    public static void main(String[] args) throws Exception {
        for (String arg : args) {
            String command = arg.substring(0, arg.indexOf('='));
            String[] words = arg.substring(arg.indexOf('=') + 1).split(",");
            if (command.equals("crc")) {
                checksums = words[0].equals("on");
                continue;
            }
            DefaultMessageStore store = open(words[0]);
            System.out.println("store " + words[0]);
            if (command.equals("read")) {
                read(store);
            } else {
                write(store, Integer.parseInt(words[1]));
            }
            if (command.equals("crash")) {
                System.out.flush();
                Runtime.getRuntime().halt(0);
            }
            store.shutdown();
        }
        System.exit(0);
    }

    static boolean checksums;

    static DefaultMessageStore open(String dir) throws Exception {
        MessageStoreConfig config = new MessageStoreConfig();
        config.setStorePathRootDir(dir);
        config.setStorePathCommitLog(dir + File.separator + "commitlog");
        config.setMappedFileSizeCommitLog(16 << 10);
        config.setMappedFileSizeConsumeQueue(50 * 20);
        config.setMaxHashSlotNum(100);
        config.setMaxIndexNum(1000);
        config.setHaListenPort(0);
        config.setTimerWheelEnable(false);
        config.setEnableCompaction(false);
        config.setDiskMaxUsedSpaceRatio(95);
        config.setEnabledAppendPropCRC(checksums);
        config.setForceVerifyPropCRC(checksums);
        BrokerConfig broker = new BrokerConfig();
        DefaultMessageStore store = new DefaultMessageStore(config, new BrokerStatsManager(broker),
            (topic, queue, offset, tags, time, bits, props) -> { }, broker, new ConcurrentHashMap<>());
        if (!store.load()) {
            throw new IllegalStateException("Java does not load " + dir);
        }
        store.start();
        return store;
    }

    static void write(DefaultMessageStore store, int n) throws Exception {
        for (int i = 0; i < n; i++) {
            MessageExtBrokerInner m = new MessageExtBrokerInner();
            m.setTopic(i % 10 == 9 ? "%RETRY%" + repeat("g", 140) : "T" + i % 2);
            m.setQueueId(i % 3);
            m.setFlag(i);
            m.setBody(("message " + i + " " + repeat("x", i * 7 % 500)).getBytes(StandardCharsets.UTF_8));
            m.setBornTimestamp(1700000000000L + i);
            m.setBornHost(new InetSocketAddress(i % 7 == 3 ? "2001:db8::1" : "10.1.2.3", 4567));
            m.setStoreHost(new InetSocketAddress("127.0.0.1", 10911));
            if (i % 7 == 3) {
                m.setBornHostV6Flag();
            }
            m.setReconsumeTimes(i % 4);
            m.setTags(i % 5 == 0 ? "标签" : "Tag" + i % 4);
            m.setKeys("key" + i + "  odd" + i % 2 + " 键" + i);
            MessageAccessor.putProperty(m, "UNIQ_KEY", String.format("7F0000010000000000000000%08X", i));
            m.setTagsCode(MessageExtBrokerInner.tagsString2tagsCode(null, m.getTags()));
            m.setPropertiesString(MessageDecoder.messageProperties2String(m.getProperties()));
            PutMessageResult put = store.putMessage(m);
            if (put.getPutMessageStatus() != PutMessageStatus.PUT_OK) {
                throw new IllegalStateException(put.toString());
            }
        }
        awaitDispatch(store);
    }

    static String repeat(String s, int n) {
        return new String(new char[n]).replace("\0", s);
    }

    static void awaitDispatch(DefaultMessageStore store) throws Exception {
        while (store.dispatchBehindBytes() > 0) {
            Thread.sleep(1);
        }
    }

    static void read(DefaultMessageStore store) throws Exception {
        awaitDispatch(store);
        List<MessageExt> all = new ArrayList<>();
        for (String topic : new TreeMap<>(store.getConsumeQueueTable()).keySet()) {
            for (Integer queue : new TreeMap<>(store.getConsumeQueueTable().get(topic)).keySet()) {
                readQueue(store, topic, queue, all);
            }
        }
        all.sort((a, b) -> Long.compare(a.getCommitLogOffset(), b.getCommitLogOffset()));
        for (MessageExt m : all) {
            System.out.println("message " + m.getTopic() + " " + m.getQueueId() + " " + m.getQueueOffset() + " "
                + m.getCommitLogOffset() + " " + m.getStoreSize() + " " + m.getStoreTimestamp() + " " + m.getBodyCRC()
                + " " + m.getBornHost() + " " + m.getReconsumeTimes() + " " + m.getTags());
        }
        for (MessageExt m : all) {
            for (String key : (m.getKeys() + " " + m.getProperty("UNIQ_KEY")).split(" ")) {
                if (key.isEmpty() || key.startsWith("odd") || key.equals("null")) {
                    continue;
                }
                QueryMessageResult found = store.queryMessage(m.getTopic(), key, 32, 0, Long.MAX_VALUE);
                System.out.println("key " + m.getTopic() + " " + key + " " + found.getMessageMapedList().size());
                found.release();
            }
        }
        System.out.println("end " + store.getMaxPhyOffset());
    }

    static void readQueue(DefaultMessageStore store, String topic, int queue, List<MessageExt> all)
        throws Exception {
        long max = store.getMaxOffsetInQueue(topic, queue);
        for (long offset = store.getMinOffsetInQueue(topic, queue); offset < max; ) {
            GetMessageResult got = store.getMessage("g", topic, queue, offset, 32, null);
            if (got.getStatus() != GetMessageStatus.FOUND) {
                throw new IllegalStateException(topic + " " + queue + " " + offset + ": " + got);
            }
            for (ByteBuffer record : got.getMessageBufferList()) {
                all.add(MessageDecoder.decode(record.slice(), true, false));
            }
            offset = got.getNextBeginOffset();
            got.release();
        }
    }
}
