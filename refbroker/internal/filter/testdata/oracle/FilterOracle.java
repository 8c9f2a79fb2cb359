import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.util.BitsArray;
import org.apache.rocketmq.filter.util.BloomFilter;

/**
 * Says what RocketMQ's own filter makes of expressions and of bloom filter
 * keys. It reads lines of words, texts in base 64, and answers each line but
 * "props" and "reset" with one:
 *
 *   reset               no property strings
 *   props P             one more property string that expressions are tried on
 *   expr E              "ok " + a letter for each property string: T true,
 *                       F false, N unknown, E error; or "error " + the message
 *   bloom f n key...    "m k" + for each key its positions + the bits, in hex
 */
public class FilterOracle {
    static final List<Map<String, String>> PROPS = new ArrayList<>();

    static class Context implements EvaluationContext {
        final Map<String, String> map;

        Context(Map<String, String> map) {
            this.map = map;
        }

        @Override
        public Object get(String name) {
            return map.get(name);
        }

        @Override
        public Map<String, Object> keyValues() {
            throw new UnsupportedOperationException();
        }
    }

    static String text(String word) {
        return new String(Base64.getDecoder().decode(word), StandardCharsets.UTF_8);
    }

    static String base64(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }

    static char evaluate(Expression e, Map<String, String> props) {
        try {
            Object result = e.evaluate(new Context(props));
            return result == null ? 'N' : result == Boolean.TRUE ? 'T' : result == Boolean.FALSE ? 'F' : '?';
        } catch (Throwable t) {
            return 'E';
        }
    }

    static String expr(String expression) {
        Expression e;
        try {
            e = FilterFactory.INSTANCE.get("SQL92").compile(expression);
        } catch (Throwable t) {
            return "error " + base64(String.valueOf(t.getMessage()));
        }
        StringBuilder results = new StringBuilder("ok ");
        for (Map<String, String> props : PROPS) {
            results.append(evaluate(e, props));
        }
        return results.toString();
    }

    static String bloom(String[] words) {
        BloomFilter filter = BloomFilter.createByFn(Integer.parseInt(words[1]), Integer.parseInt(words[2]));
        StringBuilder answer = new StringBuilder(filter.getM() + " " + filter.getK());
        for (int i = 3; i < words.length; i++) {
            BitsArray bits = BitsArray.create(filter.getM());
            filter.hashTo(text(words[i]), bits);
            answer.append(' ').append(Arrays.toString(filter.calcBitPositions(text(words[i]))).replaceAll("[\\[\\] ]", "")).append('/');
            for (byte b : bits.bytes()) {
                answer.append(String.format("%02x", b));
            }
        }
        return answer.toString();
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "props":
                    PROPS.add(MessageDecoder.string2messageProperties(words.length > 1 ? text(words[1]) : ""));
                    continue;
                case "reset":
                    PROPS.clear();
                    continue;
                case "expr":
                    out.write(expr(words.length > 1 ? text(words[1]) : ""));
                    break;
                case "bloom":
                    out.write(bloom(words));
                    break;
                default:
                    throw new IllegalArgumentException(line);
            }
            out.newLine();
        }
        out.flush();
    }
}
