import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Base64;
import java.util.List;
import java.util.TreeMap;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSerializable;
import org.apache.rocketmq.remoting.protocol.body.RegisterBrokerBody;

/**
 * Reads what package protocol wrote with RocketMQ's own classes. Each line of the
 * file that is its argument is "kind TAB file"; the answer is "kind TAB file TAB
 * what was read as JSON". A kind is a class of a body, or frame, messages,
 * plain or compressed (a registration).
 */
public class Reader {
    public static void main(String[] args) throws Exception {
        for (String line : Files.readAllLines(Paths.get(args[0]))) {
            String[] parts = line.split("\t");
            String read;
            try {
                read = json(read(parts[0], Files.readAllBytes(Path.of(parts[1]))));
            } catch (Throwable t) {
                read = json("cannot be read: " + t);
            }
            System.out.println("READ\t" + parts[0] + "\t" + parts[1] + "\t" + read);
        }
        System.exit(0);
    }

    static String json(Object o) {
        return JSON.toJSONString(o, SerializerFeature.MapSortField, SerializerFeature.DisableCircularReferenceDetect,
            SerializerFeature.WriteNonStringKeyAsString);
    }

    static Object read(String kind, byte[] bytes) throws Exception {
        switch (kind) {
            case "frame":
                return frame(bytes);
            case "messages":
                return messages(bytes);
            case "plain":
            case "compressed":
                return RegisterBrokerBody.decode(bytes, kind.equals("compressed"), MQVersion.Version.V5_3_2);
            default:
                return RemotingSerializable.decode(bytes, Class.forName(kind));
        }
    }

    static Object frame(byte[] bytes) throws Exception {
        ByteBuffer buffer = ByteBuffer.wrap(bytes, 4, bytes.length - 4);
        RemotingCommand c = RemotingCommand.decode(buffer);
        TreeMap<String, Object> m = new TreeMap<>();
        m.put("code", c.getCode());
        m.put("language", c.getLanguage());
        m.put("version", c.getVersion());
        m.put("opaque", c.getOpaque());
        m.put("flag", c.getFlag());
        m.put("remark", c.getRemark() == null ? "" : c.getRemark());
        m.put("fields", c.getExtFields() == null ? new TreeMap<>() : new TreeMap<>(c.getExtFields()));
        m.put("body", Base64.getEncoder().encodeToString(c.getBody() == null ? new byte[0] : c.getBody()));
        return m;
    }

    static Object messages(byte[] bytes) {
        List<MessageExt> all = MessageDecoder.decodes(ByteBuffer.wrap(bytes));
        return all.stream().map(x -> {
            TreeMap<String, Object> m = new TreeMap<>();
            m.put("topic", x.getTopic());
            m.put("queueId", x.getQueueId());
            m.put("queueOffset", x.getQueueOffset());
            m.put("physicalOffset", x.getCommitLogOffset());
            m.put("born", x.getBornHostString() + " " + x.getBornTimestamp());
            m.put("stored", x.getStoreHost() + " " + x.getStoreTimestamp());
            m.put("id", x.getMsgId());
            m.put("crc", x.getBodyCRC());
            m.put("size", x.getStoreSize());
            m.put("body", Base64.getEncoder().encodeToString(x.getBody()));
            m.put("properties", new TreeMap<>(x.getProperties()));
            return m;
        }).toArray();
    }
}
